"""onnxslim: simplifies the graph, and leaves weights as they are."""

from __future__ import annotations

from pathlib import Path

from onnxzip.comparison.tools._protos import is_large
from onnxzip.comparison.tools._tool import Setting, Task, Tool


class Slim(Tool):
    """With its default optimisations."""

    name = "onnxslim"
    needs = ("onnxslim",)

    def make(self, task: Task, setting: Setting) -> Path:
        """Simplify the model; see `Tool`."""
        import onnxslim

        output = task.shipped / "model.onnx"
        onnxslim.slim(str(task.source), str(output), save_as_external_data=is_large(task))
        return output
