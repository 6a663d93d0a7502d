"""The scripts in this folder do what they say: each is run as a user would, and its file is used."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from numpy.typing import NDArray

HERE = Path(__file__).parent
MODELS = HERE.parents[1] / "models"
SCRIPTS = sorted(path for path in HERE.glob("*.py") if not path.name.startswith("test_"))
MAX_LINES = 60
SAME_ANSWERS = 0.95
"""Share of the test images that the original and the compressed model agree on, at least."""


def run(script: str, *arguments: Path) -> None:
    """Run a script in a process of its own."""
    command = [sys.executable, str(HERE / script), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def digits() -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """Return the test images, (360, 1, 8, 8), and their labels."""
    with np.load(MODELS / "digits_test.npz") as data:
        return data["image"], np.load(MODELS / "digits_test_labels.npy")


def output(model: Path, images: NDArray[np.float32], number: int = 0) -> NDArray[np.float32]:
    """Return what a file that stands alone, in a folder without external data, puts out."""
    session = ort.InferenceSession(model.read_bytes(), providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {session.get_inputs()[0].name: images})[number])


def test_every_script_is_short_and_run_by_a_test() -> None:
    tests = Path(__file__).read_text("utf-8")
    assert len(SCRIPTS) == 5
    for script in SCRIPTS:
        assert f'"{script.name}"' in tests
        assert len(script.read_text("utf-8").splitlines()) < MAX_LINES


@pytest.mark.parametrize("script", ["pytorch_dynamo.py", "pytorch_torchscript.py"])
def test_pytorch(script: str, tmp_path: Path) -> None:
    for name in ("torch", "onnxscript"):
        pytest.importorskip(name, reason=f"{name} is not installed; the extra `train` has it")
    small = tmp_path / "small.onnx"
    run(script, small)
    images, labels = digits()
    answers = output(small, images).argmax(1)  # any batch: the free axis is still free
    assert np.mean(answers == labels) > 0.9
    assert small.stat().st_size < 30_000  # of 340,000


def test_scikit_learn(tmp_path: Path) -> None:
    pytest.importorskip("skl2onnx", reason="skl2onnx is not installed; the extra `train` has it")
    small = tmp_path / "small.onnx"
    run("scikit_learn.py", small)
    images, labels = digits()
    assert np.mean(output(small, 16 * images.reshape(-1, 64)) == labels) > 0.9
    assert small.stat().st_size < 40_000  # of 205,000


def test_optimum_folder(tmp_path: Path) -> None:
    exported, compressed = tmp_path / "exported", tmp_path / "compressed"
    exported.mkdir()
    model = onnx.load(MODELS / "digits_attention.onnx")
    onnx.save(model, exported / "model.onnx", save_as_external_data=True, location="model.onnx_data")
    for name in ("config.json", "tokenizer.json"):
        (exported / name).write_text(json.dumps({"file": name}), "utf-8")
    before = sum(path.stat().st_size for path in exported.iterdir())
    run("optimum_folder.py", exported, compressed)
    assert {path.name for path in compressed.iterdir()} == {
        "model.onnx",
        "config.json",
        "tokenizer.json",
    }
    assert (compressed / "config.json").read_bytes() == (exported / "config.json").read_bytes()
    assert sum(path.stat().st_size for path in compressed.iterdir()) < before / 4
    images, _ = digits()
    paths = (MODELS / "digits_attention.onnx", compressed / "model.onnx")
    answers = [output(path, images).argmax(1) for path in paths]
    assert np.mean(answers[0] == answers[1]) >= SAME_ANSWERS


def test_script_that_called_quantize_static(tmp_path: Path) -> None:
    model, small = MODELS / "digits_cnn.onnx", tmp_path / "small.onnx"
    run("from_quantize_static.py", model, MODELS / "digits_calibration.npz", small)
    assert small.stat().st_size < model.stat().st_size / 10
    images, _ = digits()
    answers = [output(path, images).argmax(1) for path in (model, small)]
    assert np.mean(answers[0] == answers[1]) >= SAME_ANSWERS
