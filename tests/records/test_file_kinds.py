"""Files that are taken for models or data, and are something else."""

from __future__ import annotations

import gzip
import zipfile
from pathlib import Path

import numpy as np
import pytest

import onnxzip
from onnxzip.errors import CalibrationError, ModelError
from tests.casebook.broken import good_model

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:0000\nsize 1094689\n"

KINDS = {
    "pointer": (POINTER, "Git LFS pointer.*`git lfs pull`"),
    "page": (b"\xef\xbb\xbf\n <!DOCTYPE HTML><html>", "web page"),
    "packed": (gzip.compress(b"model"), "gzip; unpack"),
    "hdf5": (b"\x89HDF\r\n\x1a\n", "HDF5"),
    "lite": (b"\x1c\0\0\0TFL3" + bytes(40), "TensorFlow Lite"),
    "ort": (b"\x1c\0\0\0ORTM" + bytes(40), "ORT format"),
}


@pytest.mark.parametrize("name", KINDS)
def test_model_that_is_something_else(name: str, tmp_path: Path) -> None:
    data, message = KINDS[name]
    path = tmp_path / "model.onnx"
    path.write_bytes(data)
    for action in (onnxzip.compress, onnxzip.inspect, onnxzip.decompress, onnxzip.verify):
        with pytest.raises(ModelError, match=message):
            action(path)


def test_archive(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("data.pkl", "x")
    with pytest.raises(ModelError, match="zip archive"):
        onnxzip.compress(path)


def test_external_data_that_is_a_pointer(tmp_path: Path) -> None:
    model = good_model()
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = tensor.EXTERNAL
    tensor.external_data.add(key="location", value="weights.bin")
    (tmp_path / "weights.bin").write_bytes(POINTER)
    (tmp_path / "model.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(ModelError, match=r"initializer 'weight'.*'weights\.bin'.*Git LFS pointer"):
        onnxzip.compress(tmp_path / "model.onnx")


@pytest.mark.parametrize("suffix", [".npz", ".npy"])
def test_data_that_are_a_pointer(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"data{suffix}"
    path.write_bytes(POINTER)
    with pytest.raises(CalibrationError, match="Git LFS pointer"):
        onnxzip.compress(good_model(), calibration=path)


def test_a_damaged_archive_of_data_is_no_foreign_file(tmp_path: Path) -> None:
    path = tmp_path / "data.npz"
    np.savez(path, x=np.ones((8, 64), np.float32))
    data = bytearray(path.read_bytes())
    data[40:60] = bytes(20)
    path.write_bytes(bytes(data))
    with pytest.raises(CalibrationError, match="cannot be read"):
        onnxzip.compress(good_model(), calibration=path)
