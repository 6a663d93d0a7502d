"""Weights and arithmetic in float16, by the converter that onnxruntime ships."""

from __future__ import annotations

from pathlib import Path

from onnxzip.comparison.tools._protos import load, save
from onnxzip.comparison.tools._tool import Setting, Task, Tool


class Float16(Tool):
    """Inputs and outputs stay as they were, so that the model is called as before."""

    name = "float16"

    def make(self, task: Task, setting: Setting) -> Path:
        """Convert the model; see `Tool`."""
        from onnxruntime.transformers.float16 import convert_float_to_float16

        converted = convert_float_to_float16(load(task.source), keep_io_types=True)
        return save(converted, task.shipped / "model.onnx")
