"""Decoded weights are the same, bit for bit, in OpenVINO's own runtime (the extra `openvino`)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import onnxzip
from onnxzip import graph
from onnxzip.prove.decoded_weights import decode_weights

openvino = pytest.importorskip("openvino", reason="openvino is not installed; it is an extra")

# By itself it quantises what meets a weight of 8 bits, where it recognises one behind its decoder.
EXACT = {"INFERENCE_PRECISION_HINT": "f32", "DYNAMIC_QUANTIZATION_GROUP_SIZE": "0"}
MODELS = Path(__file__).parents[2] / "models"


@pytest.mark.parametrize("name", ["digits_cnn", "digits_attention"])
@pytest.mark.parametrize("level", [1, 6, 9])
def test_decoded_weights(name: str, level: int, tmp_path: Path) -> None:
    small, alone = tmp_path / "small.onnx", tmp_path / "decoder.onnx"
    onnxzip.compress(MODELS / f"{name}.onnx", small, level=level)
    model = graph.read_model(small)
    n_nodes, _ = graph.read_mark(model)
    expected = decode_weights(model, n_nodes)
    graph.write_model(graph.decoder(model, n_nodes), alone)
    compiled = openvino.Core().compile_model(alone, "CPU", EXACT)
    decoded = {output.any_name: array for output, array in compiled({}).items()}
    assert decoded.keys() == expected.keys()
    for key, array in expected.items():
        assert np.asarray(decoded[key]).tobytes() == array.tobytes(), key


@pytest.mark.parametrize("level", [1, 6, 9])
def test_outputs(level: int, tmp_path: Path) -> None:
    """The compressed model answers like its plain weights do."""
    small, plain = tmp_path / "small.onnx", tmp_path / "plain.onnx"
    onnxzip.compress(MODELS / "digits_cnn.onnx", small, level=level)
    onnxzip.decompress(small, plain)
    images = np.load(MODELS / "digits_test.npz")["image"][:16]
    answers = []
    for path in (plain, small):
        compiled = openvino.Core().compile_model(path, "CPU", EXACT)
        answers.append(compiled(images)[0])
    np.testing.assert_allclose(answers[1], answers[0], rtol=1e-5, atol=1e-5)
