"""Models as protos, which most tools take and return."""

from __future__ import annotations

from pathlib import Path

import onnx

from onnxzip.comparison.tools._tool import Task


def load(path: Path) -> onnx.ModelProto:
    """Return a model with its external data."""
    return onnx.load(path)


def save(model: onnx.ModelProto, path: Path) -> Path:
    """Write a model, with external data where it does not fit a file; return the path."""
    has_data = model.ByteSize() > onnx.checker.MAXIMUM_PROTOBUF
    onnx.save(model, path, save_as_external_data=has_data, location=f"{path.name}.data")
    return path


def is_large(task: Task) -> bool:
    """Whether a model has more bytes than fit a file."""
    return sum(path.stat().st_size for path in task.files) > onnx.checker.MAXIMUM_PROTOBUF
