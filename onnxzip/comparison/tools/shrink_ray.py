"""onnx_shrink_ray: weights as bytes, which are made floats while the model is loaded."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path

from onnxzip.comparison.tools._protos import load, save
from onnxzip.comparison.tools._tool import Setting, Task, Tool


class ShrinkRay(Tool):
    """Its integer method; the one that rounds floats makes no file smaller by itself."""

    name = "onnx_shrink_ray"
    needs = ("onnx-shrink-ray",)

    def settings(self) -> Generator[Setting, bool, None]:
        """Yield how small a tensor may be, from its default on, and a scale for each channel."""
        for min_elements in (16384, 1024, 64):
            for per_channel in (False, True):
                yield {"min_elements": min_elements, "per_channel": per_channel}

    def make(self, task: Task, setting: Setting) -> Path:
        """Quantise the weights; see `Tool`."""
        from onnx_shrink_ray import shrink

        quantised = shrink.quantize_weights(load(task.source), **setting)
        return save(quantised, task.shipped / "model.onnx")
