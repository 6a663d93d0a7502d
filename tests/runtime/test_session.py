"""Sessions, providers, errors in one line, optimised graphs."""

import os
import pickle
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from onnxzip.errors import CalibrationError, ModelError, ProviderError
from onnxzip.runtime import loadable, providers
from onnxzip.runtime import session as runtime
from onnxzip.runtime.input_spec import InputSpec
from onnxzip.runtime.loadable import LoadableModel
from onnxzip.runtime.optimised import optimised_model
from onnxzip.runtime.outputs import flatten
from onnxzip.runtime.providers import available_providers, choose_providers, long_name, short_name
from onnxzip.runtime.session import open_session
from onnxzip.runtime.survival import survives

WEIGHT = np.arange(12, dtype=np.float32).reshape(3, 4)


def make_model(
    op_type: str = "MatMul", domain: str = "", opset: int = 17, weight: onnx.TensorProto | None = None
) -> bytes:
    """One node y = op(x, w) behind a Cast of the weight to float."""
    tensor = weight or numpy_helper.from_array(WEIGHT, "w")
    graph = helper.make_graph(
        [
            helper.make_node("Cast", ["w"], ["v"], to=TensorProto.FLOAT),
            helper.make_node(op_type, ["x", "v"], ["y"], name="node", domain=domain),
        ],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 3])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 4])],
        [tensor],
    )
    opsets = [helper.make_opsetid("", opset)] + ([helper.make_opsetid(domain, 1)] if domain else [])
    return helper.make_model(graph, opset_imports=opsets, ir_version=8).SerializeToString()


def external_tensor(data_type: int, n_bytes: int) -> onnx.TensorProto:
    tensor = onnx.TensorProto(name="w", data_type=data_type, dims=WEIGHT.shape)
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in (("location", "no-such-file.bin"), ("offset", "0"), ("length", str(n_bytes))):
        tensor.external_data.add(key=key, value=value)
    return tensor


def test_session_tells_types_and_shapes_and_runs():
    with open_session(LoadableModel(make_model())) as session:
        assert session.inputs == (InputSpec("x", np.dtype("float32"), ("batch", 3)),)
        assert session.outputs == (InputSpec("y", np.dtype("float32"), ("batch", 4)),)
        x = np.eye(3, dtype=np.float32)
        np.testing.assert_array_equal(session.run({"x": x})["y"], WEIGHT)
        assert list(session.run({"x": x}, ["y"])) == ["y"]
    with pytest.raises(ModelError, match="closed"):
        session.run({"x": x})


def test_overridable_initializers_are_not_inputs():
    model = onnx.load_from_string(make_model())
    model.graph.input.append(helper.make_tensor_value_info("w", TensorProto.FLOAT, [3, 4]))
    session = open_session(LoadableModel(model.SerializeToString()))
    assert [spec.name for spec in session.inputs] == ["x"]


def test_unsupported_types_are_kept_as_text():
    assert InputSpec.parse("s", "tensor(string)", ["n"]).dtype == "tensor(string)"
    assert InputSpec.parse("s", "seq(tensor(float))", []).dtype == "seq(tensor(float))"
    assert InputSpec.parse("s", "tensor(double)", [1, None]) == InputSpec("s", np.dtype("f8"), (1, None))


@pytest.mark.parametrize("optimisation", ["off", "basic", "all"])
@pytest.mark.parametrize("dtype", ["float32", "float16", "float64", "int64", "uint8", "bfloat16"])
def test_external_arrays_are_handed_over_in_memory(dtype, optimisation):
    ml_dtypes = pytest.importorskip("ml_dtypes")
    numpy_dtype = np.dtype(getattr(ml_dtypes, dtype, dtype))
    if dtype == "bfloat16" and not hasattr(runtime.ort.OrtValue, "ortvalue_from_numpy_with_onnx_type"):
        pytest.skip("this onnxruntime takes no bfloat16 from Python")
    weight = WEIGHT.astype(numpy_dtype)
    data_type = (
        TensorProto.BFLOAT16 if dtype == "bfloat16" else helper.np_dtype_to_tensor_dtype(numpy_dtype)
    )
    model = make_model(weight=external_tensor(data_type, weight.nbytes))
    source = LoadableModel(model, external={"w": weight.T.copy().T})  # not contiguous
    session = open_session(source, optimisation=optimisation)
    np.testing.assert_array_equal(session.run({"x": np.eye(3, dtype=np.float32)})["y"], WEIGHT)


def test_arrays_from_another_process_are_handed_over():
    weight = pickle.loads(pickle.dumps(WEIGHT))  # its dtype is then equal to numpy's own, but another
    source = LoadableModel(
        make_model(weight=external_tensor(TensorProto.FLOAT, 48)), external={"w": weight}
    )
    np.testing.assert_array_equal(open_session(source).run({"x": np.eye(3, dtype="f4")})["y"], WEIGHT)


class Crash:
    """Ends the process that it is sent to."""

    def __reduce__(self):
        return os._exit, (1,)


def test_a_run_that_ends_its_process_is_found_out():
    source = LoadableModel(make_model())
    assert survives(source, {"x": np.eye(3, dtype=np.float32)})
    assert survives(source, {"x": np.zeros((3, 99), np.float32)})  # fails, and says so
    assert not survives(source, {"x": Crash()})


def test_external_array_is_not_copied():
    array = np.ones((3, 4), np.float32)
    array.setflags(write=False)
    assert loadable._ort_value("w", array)._ortvalue.data_ptr() == array.ctypes.data


def test_external_type_that_cannot_be_handed_over_is_refused():
    with pytest.raises(ModelError, match=r"'w'.*complex64"):
        loadable._ort_value("w", np.zeros(2, np.complex64))


@pytest.mark.parametrize(
    ("model", "error", "pattern"),
    [
        (make_model("Foo", "my.domain"), ProviderError, r"my\.domain:Foo is unknown.*custom_ops"),
        (make_model("Foo"), ModelError, "No Op registered for Foo"),
        (make_model(opset=99), ModelError, "Opset 99"),
        (make_model()[:60], ModelError, "protobuf parsing failed"),
        (b"", ModelError, "No graph"),
        (b"hello, I am a text file", ModelError, "protobuf parsing failed"),
        (make_model(weight=external_tensor(1, 48)), ModelError, "no-such-file.bin"),
    ],
)
def test_bad_models_give_one_line_that_names_the_file(model, error, pattern, capfd):
    with pytest.raises(error, match=pattern) as caught:
        open_session(LoadableModel(model, "dir/bad.onnx"))
    message = str(caught.value)
    assert message.startswith("dir/bad.onnx: ")
    assert "\n" not in message
    assert "onnxruntime_src" not in message
    assert capfd.readouterr() == ("", "")


def test_missing_file_and_missing_custom_ops_library(tmp_path):
    with pytest.raises(ModelError, match=r"none\.onnx"):
        open_session(LoadableModel(tmp_path / "none.onnx"))
    with pytest.raises(ProviderError, match=r"custom_ops .*none\.so"):
        open_session(LoadableModel(make_model()), custom_ops=Path("none.so"))


@pytest.mark.parametrize(
    "feeds",
    [{}, {"q": np.ones((1, 3), np.float32)}, {"x": np.ones((1, 4), np.float32)}, {"x": np.ones((1, 3))}],
)
def test_feeds_that_do_not_fit(feeds):
    session = open_session(LoadableModel(make_model(), "m.onnx"))
    with pytest.raises(CalibrationError, match=r"^m\.onnx: the feeds do not fit the model: ") as caught:
        session.run(feeds)
    assert "\n" not in str(caught.value)


def test_failure_while_running_is_a_model_error(capfd):
    graph = helper.make_graph(
        [helper.make_node("Reshape", ["x", "s"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["a", "b"])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.array([3, 5]), "s")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    session = open_session(LoadableModel(model.SerializeToString(), "m.onnx"))
    with pytest.raises(ModelError, match=r"^m\.onnx: fails while running on CPU: .*Reshape") as caught:
        session.run({"x": np.ones((2, 3), np.float32)})
    assert "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "")


def test_optimised_model_folds_constants():
    weight = np.random.default_rng(0).standard_normal((3, 4)).astype(np.float16)
    source = LoadableModel(make_model(weight=external_tensor(10, 24)), external={"w": weight})
    model = onnx.load_from_string(optimised_model(source))
    assert [node.op_type for node in model.graph.node] == ["MatMul"]
    np.testing.assert_array_equal(numpy_helper.to_array(model.graph.initializer[0]), weight.astype("f4"))
    big = LoadableModel(make_model(weight=numpy_helper.from_array(np.ones((3, 400), np.float32), "w")))
    (tensor,) = onnx.load_from_string(optimised_model(big)).graph.initializer
    assert tensor.data_location == onnx.TensorProto.EXTERNAL, "protobuf writes at most 2 GiB"
    assert tuple(tensor.dims) == (3, 400)


def test_providers_by_any_name():
    present = ["CUDA", "DirectML", "Azure", "CPU"]
    assert choose_providers(present, None, "1") == ("CPU", "CUDA", "DirectML")
    assert choose_providers(present, ["cuda", "DmlExecutionProvider", "dml", "CPU"], "1") == (
        "CUDA",
        "DirectML",
        "CPU",
    )
    with pytest.raises(ProviderError, match=r"TensorRT not in onnxruntime 1, which has CUDA, DirectML"):
        choose_providers(present, ["CPU", "TensorRT"], "1")


@pytest.mark.parametrize(
    "name", ["CPU", "CUDA", "TensorRT", "ROCm", "DirectML", "CoreML", "WebGPU", "OpenVINO", "QNN"]
)
def test_provider_names_round_trip(name):
    assert long_name(name).endswith("ExecutionProvider")
    assert short_name(long_name(name)) == name


def test_cpu_starts_and_an_absent_provider_does_not():
    assert "CPU" in available_providers()
    assert runtime.probe_provider("CPU") == ""
    with pytest.raises(ProviderError, match="NoSuch not in onnxruntime"):
        open_session(LoadableModel(make_model()), provider="NoSuch")


def test_provider_that_onnxruntime_drops_silently_is_an_error(monkeypatch):
    # As with the GPU wheel on a machine without CUDA: listed, requested, and then not in the session.
    monkeypatch.setattr(providers, "available_providers", lambda: ("CUDA", "CPU"))
    real = runtime.ort.InferenceSession

    def session_without_cuda(content, options, providers, enable_fallback):
        assert providers == [("CUDAExecutionProvider", {}), ("CPUExecutionProvider", {})]
        assert not enable_fallback
        return real(content, options, providers=["CPUExecutionProvider"])

    monkeypatch.setattr(runtime.ort, "InferenceSession", session_without_cuda)
    with pytest.raises(ProviderError, match=r"CUDA is part of onnxruntime .* but cannot start"):
        open_session(LoadableModel(make_model()), provider="cuda")
    assert "cannot start" in runtime.probe_provider("CUDA")


def test_flatten_maps_and_sequences():
    zip_map = [{0: 0.25, 1: 0.75}, {0: 0.5, 1: 0.5}]
    ((name, array),) = flatten("p", zip_map)
    assert name == "p"
    np.testing.assert_array_equal(array, [[0.25, 0.75], [0.5, 0.5]])
    tensors = [np.zeros(2), np.zeros(3)]
    assert [(name, a.shape) for name, a in flatten("s", tensors)] == [("s[0]", (2,)), ("s[1]", (3,))]
    assert [name for name, _ in flatten("s", [{"a": 1.0}, {"b": 2.0}])] == ["s[0][a]", "s[1][b]"]
    assert list(flatten("o", None)) == []
