"""Integer tensors come back bit for bit, and through the whole pipeline."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import helper, numpy_helper

from onnxzip import compress
from onnxzip.decode import emit_coded, emit_packed
from onnxzip.graph import EmitStored, read_model
from onnxzip.passbase import Codec
from onnxzip.planner import choose
from onnxzip.proof import decode_weights
from onnxzip.quantize import VariableRate
from onnxzip.registry import passes
from onnxzip.surgery import Restorer, emit_plan
from onnxzip.types import Candidate, Layer, Skip

Emit = Callable[[Sequence[object], object], list[str]]
LOSSLESS = passes()["lossless"]
EXAMPLES: Sequence[Layer] = LOSSLESS.examples


class OneCodec(dict[str, Codec]):
    """The same codec for every layer."""

    codec: ClassVar[Codec] = VariableRate()

    def __missing__(self, name: str) -> Codec:
        return self.codec


def candidate_of(layer: Layer) -> Candidate:
    (offer,) = LOSSLESS().candidates(layer, VariableRate(), ("stored",))
    assert not isinstance(offer, Skip), offer
    return offer


def model_with(layer: Layer) -> onnx.ModelProto:
    """Return y = Gather(weight, x), which reads integers of any type."""
    dtype = helper.np_dtype_to_tensor_dtype(layer.weight.dtype)
    graph = helper.make_graph(
        [helper.make_node("Gather", [layer.name, "x"], ["y"])],
        "gather",
        [helper.make_tensor_value_info("x", onnx.TensorProto.INT64, ["n"])],
        [helper.make_tensor_value_info("y", dtype, None)],
        [numpy_helper.from_array(np.array(layer.weight), layer.name)],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@pytest.mark.parametrize("layer", EXAMPLES, ids=lambda layer: layer.name)
def test_restores_exactly(layer: Layer) -> None:
    candidate = candidate_of(layer)
    assert candidate.error == 0
    assert candidate.form == "stored"
    assert candidate.n_bytes < layer.weight.nbytes
    restored = layer.from_canonical(LOSSLESS().restore(candidate))
    assert restored.dtype == layer.weight.dtype
    np.testing.assert_array_equal(restored, layer.weight)


@pytest.mark.parametrize("emit", [emit_packed, emit_coded])
@pytest.mark.parametrize("layer", EXAMPLES, ids=lambda layer: layer.name)
def test_the_graph_decodes_exactly(layer: Layer, emit: EmitStored) -> None:
    candidate = candidate_of(layer)
    plan = choose({layer.name: [candidate]}, {layer.name: 1.0}, 0.1, by_macs=False)
    weight_passes = {"lossless": LOSSLESS()}
    restorer = Restorer(weight_passes, OneCodec())
    emitted = emit_plan(
        read_model(model_with(layer)), plan, weight_passes, restorer, emit, keeps_names=True
    )
    decoded = decode_weights(emitted.model, emitted.n_nodes)[layer.name]
    assert decoded.dtype == layer.weight.dtype
    np.testing.assert_array_equal(decoded, layer.weight)


def test_a_quantised_model_keeps_its_outputs(tmp_path_factory: pytest.TempPathFactory) -> None:
    rng = np.random.default_rng(0)
    weight = np.clip(np.rint(rng.laplace(0, 6, (96, 64))), -127, 127).astype(np.int8)
    graph = helper.make_graph(
        [
            helper.make_node("DequantizeLinear", ["w", "scale"], ["dw"]),
            helper.make_node("MatMul", ["x", "dw"], ["y"]),
        ],
        "qdq",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["n", 96])],
        [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, ["n", 64])],
        [
            numpy_helper.from_array(weight, "w"),
            numpy_helper.from_array(np.array(0.02, np.float32), "scale"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    result = compress(model)
    assert result.model is not None
    x = rng.standard_normal((5, 96)).astype(np.float32)
    before, after = (
        ort.InferenceSession(m.SerializeToString(), providers=["CPUExecutionProvider"]).run(
            None, {"x": x}
        )
        for m in (model, result.model)
    )
    np.testing.assert_array_equal(before[0], after[0])
