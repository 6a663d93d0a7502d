"""Compressed files after the fact: listed, tested, damaged, decompressed."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

import onnxzip
from onnxzip.cli.main import main
from onnxzip.errors import ModelError, OutputError, ToleranceError
from onnxzip.report.record import Port
from tests.cases import CASES
from tests.judge import drift_on_cpu, open_session, relative_drift, run
from tests.test_evidence import UNREACHED
from tests.test_models import MODELS
from tests.textmodels import model_from_text

PERCEPTRON = """<ir_version: 8, opset_import: ["" : 17]> g (float[n, 16] x) => (float[n, 8] y) <
    float[16, 32] w1, float[32, 8] w2> {
    a = MatMul(x, w1)
    r = Relu(a)
    y = MatMul(r, w2)
}"""
STORED = [
    "residual_network",
    "lstm_bidirectional",
    "if_initializers",
    "function_called_twice",
    "float16_conv",
    "float64",
    "bfloat16_cast",
    "tied_embedding",
    "ir3_initializers_are_inputs",
    "external_one_file",
    "odd_names",
    "metadata",
]
AT_LEVELS = [*((name, 6) for name in STORED), *((name, 1) for name in STORED[:4])]
"""Coded, and packed some of them: how weights are listed does not depend on both."""


def compress(name: str, folder: Path, **settings: object) -> tuple[Path, Path, onnxzip.Report]:
    settings = {"skip": ("fold", "codebook", "lowrank"), **settings}
    case = CASES[name]
    path, out = case.write(folder), folder / "small.onnx"
    return path, out, onnxzip.compress(path, out, **settings).report


def initializers(model: onnx.ModelProto) -> dict[str, np.ndarray]:
    return {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}


# List


@pytest.mark.parametrize(("name", "level"), AT_LEVELS)
def test_list_shows_every_weight(name: str, level: int, tmp_path: Path) -> None:
    """What the report says is stored how, the file says too; the rest is plain."""
    path, out, report = compress(name, tmp_path, level=level)
    found = onnxzip.inspect(out)
    stored = [weight for weight in found.weights if weight.pass_name not in ("plain", "rounding")]
    assert len(stored) == len(report.layers)
    by_shape = sorted((w.shape, w.pass_name, w.n_bytes, w.load_bytes) for w in stored)
    reported = ((x.shape, x.pass_name, x.bytes_after, x.load_bytes) for x in report.layers)
    assert by_shape == sorted(reported)
    assert found.load_bytes == report.load_bytes
    for weight in stored:
        assert weight.bytes_before == int(np.prod(weight.shape)) * np.dtype(weight.dtype).itemsize
    assert found.n_bytes == out.stat().st_size
    plain = tmp_path / "plain.onnx"
    onnxzip.decompress(out, plain)
    assert found.bytes_before == pytest.approx(plain.stat().st_size, rel=0.03)
    names = {weight.name for weight in found.weights}
    assert len(names) == len(found.weights)
    assert names <= set(initializers(onnx.load(plain)))
    assert path.exists()


def test_list_of_an_ordinary_model() -> None:
    """Any model may be listed: its weights are plain."""
    found = onnxzip.inspect(MODELS / "digits_cnn.onnx")
    assert found.n_bytes == found.bytes_before == (MODELS / "digits_cnn.onnx").stat().st_size
    assert {weight.pass_name for weight in found.weights} == {"plain"}
    assert found.load_bytes == 0
    large = [t for t in initializers(onnx.load(MODELS / "digits_cnn.onnx")).values() if t.nbytes >= 1024]
    assert sorted(w.bytes_before for w in found.weights) == sorted(t.nbytes for t in large)


def test_list_prints_names_and_methods(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, out, report = compress("residual_network", tmp_path, keep_names=True)
    assert main(["-l", str(out)]) == 0
    printed = capsys.readouterr().out
    for layer in report.layers:
        (row,) = [line for line in printed.splitlines() if line.startswith(f"{layer.name} ")]
        assert layer.pass_name in row
        assert f"{layer.bytes_after:,}" in row


def declared(
    inputs: list[onnx.ValueInfoProto],
    outputs: list[onnx.ValueInfoProto],
    known: Sequence[np.ndarray] = (),
) -> onnx.ModelProto:
    """Return a model whose graph does nothing but declare."""
    weights = [numpy_helper.from_array(array, f"w{i}") for i, array in enumerate(known)]
    nodes = [onnx.helper.make_node("Identity", [inputs[0].name], [value.name]) for value in outputs]
    graph = onnx.helper.make_graph(nodes, "g", inputs, outputs, weights)
    opsets = [onnx.helper.make_opsetid("", 17)]
    return onnx.helper.make_model(graph, ir_version=8, opset_imports=opsets)


def test_inspection_has_what_must_be_fed_and_what_comes_back() -> None:
    """In the graph's order; initializers that could be overridden need not be fed."""
    tensor = onnx.helper.make_tensor_value_info
    inputs = [
        *(tensor("x", 1, ["batch", 3, None, ""]), tensor("w0", 1, [2]), tensor("ids", 7, [1, -1])),
        *(tensor("rate", 11, []), tensor("any", 10, None), tensor("words", 8, [0])),
    ]
    outputs = [tensor("y", 16, ["batch"]), onnx.ValueInfoProto(name="untyped")]
    found = onnxzip.inspect(declared(inputs, outputs, [np.zeros(2, np.float32)]))
    assert found.inputs == (
        *(Port("x", "float32", ("batch", 3, "?", "?")), Port("ids", "int64", (1, "?"))),
        *(Port("rate", "float64", ()), Port("any", "float16", None), Port("words", "string", (0,))),
    )
    assert found.outputs == (Port("y", "bfloat16", ("batch",)), Port("untyped", "?", None))


def test_inspection_of_what_is_no_tensor() -> None:
    """As ONNX writes such types."""
    helper = onnx.helper
    numbers = helper.make_tensor_type_proto(1, [1, "n", None])
    types = {
        "seq(float[1,n,?])": helper.make_sequence_type_proto(numbers),
        "optional(seq(float[1,n,?]))": helper.make_optional_type_proto(
            helper.make_sequence_type_proto(numbers)
        ),
        "map(int64, string)": helper.make_map_type_proto(7, helper.make_tensor_type_proto(8, [])),
        "optional(double[])": helper.make_optional_type_proto(helper.make_tensor_type_proto(11, None)),
        "sparse_tensor(float[2])": helper.make_sparse_tensor_type_proto(1, [2]),
    }
    values = [helper.make_value_info(f"v{i}", kind) for i, kind in enumerate(types.values())]
    found = onnxzip.inspect(declared(values, [onnx.helper.make_tensor_value_info("y", 1, [])]))
    assert found.inputs == tuple(Port(f"v{i}", kind, None) for i, kind in enumerate(types))


def test_a_compressed_model_has_the_ports_of_the_original(tmp_path: Path) -> None:
    for name in ("residual_network", "ir3_initializers_are_inputs"):
        path, out, _ = compress(name, tmp_path, level=1, passes="scalar", overwrite=True)
        before, after = onnxzip.inspect(path), onnxzip.inspect(out)
        assert (after.inputs, after.outputs) == (before.inputs, before.outputs)
        assert [port.name for port in after.inputs] == ["x"]


def test_list_prints_ports_of_any_model(capsys: pytest.CaptureFixture[str]) -> None:
    """Names, types and shapes, before the weights."""
    assert main(["-l", str(MODELS / "digits_cnn.onnx")]) == 0
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    first, last = (
        lines.index("image float32 batch x 1 x 8 x 8"),
        lines.index("logits float32 batch x 10"),
    )
    assert first < last < next(i for i, line in enumerate(lines) if line.startswith("whole file"))


# Decompress


@pytest.mark.parametrize(("name", "level"), AT_LEVELS)
def test_decompressed_is_what_the_runtime_folds(name: str, level: int, tmp_path: Path) -> None:
    """Bit for bit: the same outputs without any optimisation, and the original's graph."""
    path, out, report = compress(name, tmp_path, level=level)
    plain_path = tmp_path / "plain.onnx"
    model = onnxzip.decompress(out, plain_path)
    plain, original = onnx.load(plain_path), onnx.load(path)
    assert model is not None
    assert model.SerializeToString(deterministic=True) == plain_path.read_bytes()
    if CASES[name].strict:
        onnx.checker.check_model(plain_path, full_check=True)
    assert not any(e.key == "onnxzip" for e in plain.metadata_props)
    feeds = [CASES[name].feeds(seed) for seed in (0, 1)]
    for level_name in ("off", "all"):
        sessions = [open_session(p, level_name) for p in (out, plain_path)]
        for feed in feeds:
            a, b = (run(session, feed) for session in sessions)
            assert relative_drift([(a, b)]) <= (0 if level_name == "off" else 1e-6)
    operators = [n.op_type for n in original.graph.node if n.op_type != "Constant"]
    assert [n.op_type for n in plain.graph.node if n.op_type != "Constant"] == operators
    assert len(report.layers) > 0


def test_decompressed_weights_are_those_that_the_session_holds(tmp_path: Path) -> None:
    """The folded initializers of onnxruntime's BASIC graph are, byte for byte, the decompressed ones."""
    _, out, report = compress("residual_network", tmp_path)
    saved = tmp_path / "basic.onnx"
    open_session(out, "basic", saved)
    folded = sorted(a.tobytes() for a in initializers(onnx.load(saved)).values() if a.nbytes >= 1024)
    model = onnxzip.decompress(out)
    assert model is not None
    plain = sorted(a.tobytes() for a in initializers(model).values() if a.nbytes >= 1024)
    assert folded == plain
    assert len(plain) >= len(report.layers)


def test_decompressed_model_can_be_compressed_again(tmp_path: Path) -> None:
    """And loses about nothing more: the weights lie on the grid already."""
    _, out, _ = compress("residual_network", tmp_path, passes="scalar", skip=())
    plain, again = tmp_path / "plain.onnx", tmp_path / "again.onnx"
    onnxzip.decompress(out, plain)
    onnxzip.compress(plain, again, passes="scalar", skip=())
    assert again.stat().st_size < plain.stat().st_size / 2


def test_decompress_refuses_what_it_must(tmp_path: Path) -> None:
    path, out, _ = compress("residual_network", tmp_path, passes="scalar", skip=())
    with pytest.raises(ModelError, match="not written by onnxzip"):
        onnxzip.decompress(path)
    with pytest.raises(OutputError, match="exists already"):
        onnxzip.decompress(out, path)
    with pytest.raises(OutputError, match="input itself"):
        onnxzip.decompress(out, out, overwrite=True)
    assert main(["-d", str(out), str(out), "-f"]) == 1


# Test


@pytest.mark.parametrize("name", STORED)
def test_verify_accepts_what_was_written(name: str, tmp_path: Path) -> None:
    path, out, _ = compress(name, tmp_path, level=2)
    alone = onnxzip.verify(out)
    assert {check.kind for check in alone} == {"exact", "structure"}
    assert all(check.passed for check in alone)
    both = onnxzip.verify(out, path)
    assert drift_on_cpu(both).passed
    assert all(check.passed for check in both)


def test_verify_against_the_original(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The tolerance is the user's; a failed check is exit 1 and one line."""
    path, out, _ = compress("residual_network", tmp_path, passes="scalar", skip=())
    assert main(["-t", str(out), "--against", str(path)]) == 0
    capsys.readouterr()
    assert main(["-t", str(out), "--against", str(path), "--tolerance", "1e-4"]) == 1
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert "drift check failed on CPU" in err
    drift = drift_on_cpu(onnxzip.verify(out, path, tolerance=1e-4))
    assert not drift.passed
    assert onnxzip.verify(path, path)[0].value == 0


def test_verify_judges_as_the_file_was_judged(tmp_path: Path) -> None:
    source = MODELS / "digits_attention.onnx"
    value = onnx.load(source).graph.input[0]
    shape = [dim.dim_value for dim in value.type.tensor_type.shape.dim[1:]]
    data = {value.name: np.random.default_rng(0).random((96, *shape), np.float32)}
    out = tmp_path / "out.onnx"
    onnxzip.compress(source, out, calibration=data, metric="cosine", tolerance=0.02, level=3)
    blind = drift_on_cpu(onnxzip.verify(out, source))
    assert blind.passed
    assert blind.limit == math.inf
    assert "pass some to have it judged" in blind.note
    seeing = drift_on_cpu(onnxzip.verify(out, source, calibration=data))
    assert (seeing.metric, seeing.limit, seeing.passed) == ("cosine", 0.02, True)
    asked = drift_on_cpu(onnxzip.verify(out, source, tolerance=1e-9))
    assert (asked.metric, asked.limit, asked.passed) == ("nrmse", 1e-9, False)
    onnxzip.compress(source, out, tolerance=0.3, level=3, overwrite=True)
    loose = drift_on_cpu(onnxzip.verify(out, source))
    assert loose.limit == 0.3
    assert loose.note.startswith("generated inputs: photographs (")
    model = onnx.load(out)
    (mark,) = (entry for entry in model.metadata_props if entry.key == "onnxzip")
    mark.value = mark.value.replace('"nrmse",0.3', '"os:getcwd",0.3')
    wary = drift_on_cpu(onnxzip.verify(model, source))
    assert (wary.metric, wary.limit) == ("nrmse", 0.1)  # what a mark names is never imported


def test_labels_say_that_answers_are_judged(tmp_path: Path) -> None:
    """By the limit that the file was made with; without them no other metric takes its place."""
    model, out = MODELS / "digits_cnn.onnx", tmp_path / "small.onnx"
    data, labels = MODELS / "digits_calibration.npz", MODELS / "digits_calibration_labels.npy"
    how = {"calibration": data, "labels": labels, "metric": "top1", "tolerance": 0.02}
    onnxzip.compress(model, out, level=1, passes="scalar", **how)
    *_, drift = onnxzip.verify(out, model, calibration=data, labels=labels)
    assert (drift.metric, drift.limit, drift.passed) == ("top1", 0.02, True)
    *_, drift = onnxzip.verify(out, model, calibration=data)
    assert "was judged by top1: pass labels" in drift.note
    assert drift.limit == math.inf


def perceptron(seed: int, text: str = PERCEPTRON) -> onnx.ModelProto:
    return model_from_text(text, seed)


@pytest.mark.parametrize("with_data", [False, True])
def test_verify_tells_a_model_that_is_not_the_original(tmp_path: Path, with_data: bool) -> None:
    """Of the same inputs and outputs, but other weights, whether or not the loss can be judged."""
    data = {"x": np.random.default_rng(0).standard_normal((64, 16)).astype(np.float32)}
    settings = {"calibration": data} if with_data else {}
    out = tmp_path / "out.onnx"
    onnxzip.compress(perceptron(0), out, level=1, **settings)
    assert all(check.passed for check in onnxzip.verify(out, perceptron(0)))
    with pytest.raises(ModelError, match="its weights are others; pass the original, or a tolerance"):
        onnxzip.verify(out, perceptron(1))
    with pytest.raises(ModelError, match="its weights are others"):
        onnxzip.verify(out, out)
    drift = drift_on_cpu(onnxzip.verify(out, perceptron(1), tolerance=0.1))
    assert drift.failed
    assert "made from other weights than these" in drift.note


def test_the_original_is_known_however_it_is_saved(tmp_path: Path) -> None:
    out, outside = tmp_path / "out.onnx", tmp_path / "outside.onnx"
    onnxzip.compress(perceptron(0), out, level=1)
    onnx.save(perceptron(0), outside, save_as_external_data=True, size_threshold=0)
    renamed = perceptron(0, PERCEPTRON.replace("w1", "first"))
    for original in (outside, renamed):
        assert all(check.passed for check in onnxzip.verify(out, original))


@pytest.mark.parametrize(
    ("old", "new", "finding"),
    [
        ("x", "z", "it has no input 'x'"),
        ("float[n, 8] y", "float[n, 9] y", r"its output 'y' is float32\[n, 9\], that of the file"),
        ("float[n, 8] y", "float[n, 8] y, float[n, 32] a", "it has one output more, 'a'"),
    ],
)
def test_verify_tells_other_inputs_and_outputs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], old: str, new: str, finding: str
) -> None:
    out, other = tmp_path / "out.onnx", tmp_path / "other.onnx"
    onnxzip.compress(perceptron(0), out, level=1)
    text = PERCEPTRON.replace(old, new)
    onnx.save(
        perceptron(0, text.replace("float[32, 8]", "float[32, 9]") if "9]" in new else text), other
    )
    assert main(["-t", str(out), "--against", str(other)]) == 1
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert re.search(f"{other}: is not what {out} was made from: {finding}", err)


def test_an_old_file_is_held_to_a_constant_answer(tmp_path: Path) -> None:
    """It does not say what it was made from, and was fitted to data that are not at hand."""
    data = {"x": np.random.default_rng(0).standard_normal((64, 16)).astype(np.float32)}
    model = onnxzip.compress(perceptron(0), calibration=data, level=1).model
    (mark,) = (entry for entry in model.metadata_props if entry.key == "onnxzip")
    record = json.loads(mark.value)
    del record["o"]
    mark.value = json.dumps(record)
    assert drift_on_cpu(onnxzip.verify(model, perceptron(0))).passed
    drift = drift_on_cpu(onnxzip.verify(model, perceptron(1)))
    assert drift.failed
    assert drift.limit == pytest.approx(1)
    assert "is this the original?" in drift.note


def test_what_was_not_proven_is_not_when_it_is_tested(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Weights that no input reached cannot be found again in the outputs: the mark says so."""
    path, out = tmp_path / "in.onnx", tmp_path / "out.onnx"
    onnx.save(model_from_text(UNREACHED), path)
    onnxzip.compress(path, out, level=1)
    for line in (["-t", str(out)], ["-t", str(out), "--against", str(path)]):
        assert main(line) == 0
        printed = capsys.readouterr()
        assert "not proven" in printed.out
        assert "passed" not in printed.out
        assert f"{out}: not proven: no input reached weight 'far'" in printed.err
    data = {"embedding": 200 + np.random.default_rng(0).standard_normal((64, 32)).astype(np.float32)}
    assert drift_on_cpu(onnxzip.verify(out, path, calibration=data)).unproven == ""


def test_verify_needs_a_mark() -> None:
    with pytest.raises(ModelError, match="not written by onnxzip"):
        onnxzip.verify(MODELS / "digits_cnn.onnx")


# Damage


@pytest.fixture(scope="module")
def small() -> bytes:
    model = onnxzip.compress(CASES["two_layer_perceptron"].build(), passes="scalar", skip=()).model
    assert model is not None
    return model.SerializeToString()


@pytest.fixture(scope="module")
def packed() -> bytes:
    model = onnxzip.compress(CASES["two_layer_perceptron"].build(), passes="scalar", level=1).model
    assert model is not None
    return model.SerializeToString()


def decode_tensors(model: onnx.ModelProto) -> list[onnx.TensorProto]:
    n_nodes = json.loads(model.metadata_props[0].value)["n"]
    read = {name for node in model.graph.node[:n_nodes] for name in node.input}
    return [t for t in model.graph.initializer if t.name in read and t.raw_data]


def refused(data: bytes) -> bool:
    """Whether -t finds fault with a file, in words or by a failed check."""
    try:
        return not all(check.passed for check in onnxzip.verify(data))
    except ModelError:
        return True


@pytest.mark.parametrize("form", ["small", "packed"])
def test_every_flipped_tensor_is_noticed(form: str, request: pytest.FixtureRequest) -> None:
    """One flipped bit in any tensor of the decoder: found without the original; never decompressed."""
    data: bytes = request.getfixturevalue(form)
    assert not refused(data)
    n_tensors = len(decode_tensors(onnx.ModelProto.FromString(data)))
    assert n_tensors >= 5
    for i in range(n_tensors):
        model = onnx.ModelProto.FromString(data)
        tensor = decode_tensors(model)[i]
        raw = bytearray(tensor.raw_data)
        raw[len(raw) // 2] ^= 1
        tensor.raw_data = bytes(raw)
        assert refused(model.SerializeToString()), tensor.name
        with pytest.raises(ModelError):
            onnxzip.decompress(model)


@pytest.mark.parametrize("keep_fraction", [0.0, 0.1, 0.5, 0.9, 0.999])
def test_truncated_files_are_noticed(keep_fraction: float, small: bytes) -> None:
    assert refused(small[: int(len(small) * keep_fraction)])


def edit_mark(**changes: object) -> Callable[[onnx.ModelProto], None]:
    def edit(model: onnx.ModelProto) -> None:
        record = json.loads(model.metadata_props[0].value)
        model.metadata_props[0].value = json.dumps({**record, **changes})

    return edit


def set_mark(text: str) -> Callable[[onnx.ModelProto], None]:
    def edit(model: onnx.ModelProto) -> None:
        model.metadata_props[0].value = text

    return edit


def delete_node(model: onnx.ModelProto) -> None:
    del model.graph.node[3]


def move_node(model: onnx.ModelProto) -> None:
    node = onnx.NodeProto()
    node.CopyFrom(model.graph.node[0])
    del model.graph.node[0]
    model.graph.node.append(node)


DAMAGES: dict[str, Callable[[onnx.ModelProto], None]] = {
    "no nodes": edit_mark(n=0),
    "negative": edit_mark(n=-1),
    "too many nodes": edit_mark(n=10**6),
    "one node more": lambda m: edit_mark(n=json.loads(m.metadata_props[0].value)["n"] + 1)(m),
    "no weights": edit_mark(w=[]),
    "weights are numbers": edit_mark(w=[1, 2]),
    "weights are too short": edit_mark(w=[["a"], ["b"]]),
    "weights are words": edit_mark(w=[["a", "s", "x", "y"]] * 2),
    "weights are a dict": edit_mark(w={"a": 1, "b": 2}),
    "newer format": edit_mark(v=99),
    "no json": set_mark("junk"),
    "a number": set_mark("5"),
    "a list": set_mark("[]"),
    "null": set_mark("null"),
    "empty": set_mark(""),
    "node deleted": delete_node,
    "node moved": move_node,
}


@pytest.mark.parametrize("kind", DAMAGES)
def test_damaged_marks_and_graphs(kind: str, small: bytes, capsys: pytest.CaptureFixture[str]) -> None:
    """Whoever edited the file, the three commands name the finding in one line."""
    model = onnx.ModelProto.FromString(small)
    DAMAGES[kind](model)
    for command in (onnxzip.inspect, onnxzip.verify, onnxzip.decompress):
        with pytest.raises(ModelError) as caught:
            command(model)
        assert "\n" not in str(caught.value)
        assert len(str(caught.value)) > 40
    assert capsys.readouterr() == ("", "")


def test_damage_through_the_command_line(small: bytes, tmp_path: Path) -> None:
    """Exit 1 for -t and -d, and no output."""
    model = onnx.ModelProto.FromString(small)
    tensor = max(decode_tensors(model), key=lambda t: len(t.raw_data))
    tensor.raw_data = bytes(len(tensor.raw_data))
    path, out = tmp_path / "damaged.onnx", tmp_path / "out.onnx"
    onnx.save(model, path)
    assert main(["-t", str(path), "-q"]) == 1
    assert main(["-d", str(path), str(out)]) == 1
    assert not out.exists()


@pytest.mark.parametrize("kind", ["INT4", "UINT4", "FLOAT8E4M3FN", "FLOAT8E5M2"])
def test_narrow_weights_that_nothing_codes_are_listed(kind: str, tmp_path: Path) -> None:
    """They stay as they are, beside one that does not."""
    data_type, rng = onnx.TensorProto.DataType.Value(kind), np.random.default_rng(0)
    n_bytes = 64 * 64 // (2 if kind.endswith("4") else 1)
    narrow = onnx.TensorProto(name="narrow", data_type=data_type, dims=[64, 64])
    narrow.raw_data = rng.integers(0, 100, n_bytes, np.uint8).tobytes()
    constants = {"step": np.float32(0.05), "wide": rng.normal(size=(64, 64)).astype(np.float32)}
    nodes = [
        onnx.helper.make_node("DequantizeLinear", ["narrow", "step"], ["w"]),
        onnx.helper.make_node("MatMul", ["x", "w"], ["h"]),
        onnx.helper.make_node("MatMul", ["h", "wide"], ["y"]),
    ]
    value = onnx.helper.make_tensor_value_info
    tensors = [onnx.numpy_helper.from_array(np.asarray(a), name) for name, a in constants.items()]
    ports = [value("x", 1, ["n", 64])], [value("y", 1, ["n", 64])]
    main = onnx.helper.make_graph(nodes, "g", *ports, [narrow, *tensors])
    opsets = [onnx.helper.make_opsetid("", 21)]
    proto = onnx.helper.make_model(main, opset_imports=opsets, ir_version=10)
    listed = {w.name: (w.pass_name, w.dtype, w.shape, w.n_bytes) for w in onnxzip.inspect(proto).weights}
    assert listed["narrow"] == ("plain", kind.lower(), (64, 64), n_bytes)
    result = onnxzip.compress(proto, passes=("scalar",), keep_names=True)
    listed = {
        w.name: (w.pass_name, w.dtype, w.shape, w.n_bytes) for w in onnxzip.inspect(result.model).weights
    }
    assert listed["narrow"] == ("plain", kind.lower(), (64, 64), n_bytes)
    assert listed["wide"][0] == "scalar"
    for small in (result.model, onnxzip.decompress(result.model)):
        (kept,) = [t for t in small.graph.initializer if t.name == "narrow"]
        assert (kept.data_type, kept.raw_data) == (data_type, narrow.raw_data)
    main.node.pop()
    main.node[1].output[0] = "y"
    del main.initializer[2]
    proto.graph.CopyFrom(main)
    with pytest.raises(ToleranceError, match=r"use (the model|that) as it is"):
        onnxzip.compress(proto)


@pytest.mark.parametrize(("name", "n_weights"), [("if_initializers", 2), ("constant_of_floats", 1)])
def test_weights_of_bodies_and_constant_nodes_are_listed(name: str, n_weights: int) -> None:
    found = onnxzip.inspect(CASES[name].build())
    plain = [weight for weight in found.weights if weight.pass_name == "plain"]
    assert len(plain) == n_weights
    assert sum(weight.n_bytes for weight in plain) <= found.n_bytes
    assert {weight.dtype for weight in plain} == {"float32"}
