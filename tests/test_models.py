"""The networks in models/: their size, what they need, and that the README says what they reach."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest

MODELS = Path(__file__).parent.parent / "models"
NAMES = ("digits_attention", "digits_autoencoder", "digits_cnn", "digits_gru")
LARGEST_N_BYTES = 2_000_000


def readme_row(name: str) -> list[str]:
    """Return the cells of a model's row in models/README.md."""
    text = (MODELS / "README.md").read_text(encoding="utf-8")
    (row,) = [line for line in text.splitlines() if line.startswith(f"| `{name}.onnx`")]
    return [cell.strip() for cell in row.strip("|").split("|")]


def measure(name: str) -> tuple[str, float]:
    """Run models/evaluate.py's function on a model."""
    spec = importlib.util.spec_from_file_location("evaluate", MODELS / "evaluate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    metric, number = module.evaluate(MODELS / f"{name}.onnx")
    return str(metric), float(number)


@pytest.mark.parametrize("name", NAMES)
def test_readme_states_what_is_measured(name: str) -> None:
    """Bytes, opset and test figure in the README are the file's own."""
    _, _, opset, n_bytes, n_weight_bytes, figure = readme_row(name)
    model = onnx.load(MODELS / f"{name}.onnx")
    assert int(opset) == model.opset_import[0].version
    assert int(n_bytes.replace(",", "")) == (MODELS / f"{name}.onnx").stat().st_size
    held = sum(len(tensor.raw_data) for tensor in model.graph.initializer)
    assert int(n_weight_bytes.replace(",", "")) == held > 0.94 * (MODELS / f"{name}.onnx").stat().st_size
    metric, number = measure(name)
    stated = float(figure.split()[0])
    measured, slack = (100 * number, 0.28) if metric == "accuracy" else (number, 0.01)
    assert measured == pytest.approx(stated, abs=slack)  # one image of 360 is 0.28 points


@pytest.mark.parametrize("name", NAMES)
def test_model_takes_any_batch(name: str) -> None:
    """The batch axis is dynamic and rows do not depend on each other."""
    with np.load(MODELS / "digits_calibration.npz") as data:
        images = data["image"]
    assert images.shape == (512, 1, 8, 8)
    assert images.dtype == np.float32
    assert len(np.load(MODELS / "digits_calibration_labels.npy")) == 512
    session = ort.InferenceSession(str(MODELS / f"{name}.onnx"), providers=["CPUExecutionProvider"])
    (together,) = session.run(None, {"image": images[:5]})
    (alone,) = session.run(None, {"image": images[4:5]})
    np.testing.assert_allclose(together[4:], alone, rtol=1e-4, atol=1e-5)


def test_cnn_keeps_its_batch_norm() -> None:
    """The CNN is there to be folded: its BatchNormalization nodes are in the file."""
    model = onnx.load(MODELS / "digits_cnn.onnx")
    assert sum(node.op_type == "BatchNormalization" for node in model.graph.node) == 3


def test_calibration_and_test_images_are_disjoint() -> None:
    """No test image is among those a plan may be fitted on."""
    with np.load(MODELS / "digits_calibration.npz") as data, np.load(MODELS / "digits_test.npz") as test:
        seen = {image.tobytes() for image in data["image"]}
        assert not any(image.tobytes() in seen for image in test["image"])


def test_folder_is_small() -> None:
    """Models, data and scripts together stay within 2 MB."""
    files = [path for path in MODELS.iterdir() if path.is_file()]
    assert sum(path.stat().st_size for path in files) <= LARGEST_N_BYTES
