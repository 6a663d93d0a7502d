"""External data that is missing, too short, or outside the model's folder."""

from __future__ import annotations

from pathlib import Path

import onnx
from onnx import TensorProto

from tests.casebook.broken import bad, good_model, put


def _external(location: str, **entries: str) -> onnx.ModelProto:
    """Return the good model with its weight declared as external data."""
    model = good_model()
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, text in {"location": location, **entries}.items():
        tensor.external_data.add(key=key, value=text)
    return model


def _weight_bytes() -> bytes:
    return bytes(good_model().graph.initializer[0].raw_data)


@bad()
def external_missing(folder: Path) -> Path:
    """The external-data file does not exist."""
    return put(folder, _external("weights.bin"))


@bad()
def external_outside(folder: Path) -> Path:
    """External data in the folder above, through `..`; the file exists."""
    inner = folder / "inner"
    inner.mkdir()
    (folder / "weights.bin").write_bytes(_weight_bytes())
    return put(inner, _external("../weights.bin"))


@bad()
def external_absolute(folder: Path) -> Path:
    """External data by absolute path; the file exists."""
    inner = folder / "inner"
    inner.mkdir()
    (folder / "weights.bin").write_bytes(_weight_bytes())
    return put(inner, _external(str(folder / "weights.bin")))


@bad()
def external_symlink_outside(folder: Path) -> Path:
    """External data through a symbolic link that leaves the model's folder."""
    inner = folder / "inner"
    inner.mkdir()
    (folder / "weights.bin").write_bytes(_weight_bytes())
    (inner / "weights.bin").symlink_to(folder / "weights.bin")
    return put(inner, _external("weights.bin"))


@bad()
def external_is_directory(folder: Path) -> Path:
    """The external-data file is a directory."""
    (folder / "weights.bin").mkdir()
    return put(folder, _external("weights.bin"))


@bad()
def external_no_location(folder: Path) -> Path:
    """External data without a location entry."""
    model = _external("weights.bin")
    del model.graph.initializer[0].external_data[:]
    return put(folder, model)


@bad()
def external_short_file(folder: Path) -> Path:
    """The external-data file holds half of the weight."""
    (folder / "weights.bin").write_bytes(_weight_bytes()[: 64 * 48 * 2])
    return put(folder, _external("weights.bin"))


@bad()
def external_offset_beyond(folder: Path) -> Path:
    """The offset lies behind the end of the external-data file."""
    (folder / "weights.bin").write_bytes(_weight_bytes())
    return put(folder, _external("weights.bin", offset="1000000", length=str(64 * 48 * 4)))


@bad()
def external_length_beyond(folder: Path) -> Path:
    """The length reaches behind the end of the external-data file."""
    (folder / "weights.bin").write_bytes(_weight_bytes())
    return put(folder, _external("weights.bin", offset="0", length="99999999"))


@bad()
def external_negative_offset(folder: Path) -> Path:
    """A negative offset."""
    (folder / "weights.bin").write_bytes(_weight_bytes())
    return put(folder, _external("weights.bin", offset="-8", length=str(64 * 48 * 4)))
