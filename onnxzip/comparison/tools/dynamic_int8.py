"""onnxruntime's dynamic quantisation: integer weights, activations quantised as the model runs."""

from __future__ import annotations

from collections.abc import Generator
from itertools import product
from pathlib import Path

from onnxzip.comparison.tools._protos import is_large
from onnxzip.comparison.tools._tool import Setting, Task, Tool


class DynamicInt8(Tool):
    """Of its default operators: MatMul and what else it knows, Conv among them."""

    name = "onnxruntime dynamic int8"

    def settings(self) -> Generator[Setting, bool, None]:
        """Yield signed and unsigned weights, with a scale for each tensor or each channel."""
        for weight_type, per_channel in product(("QInt8", "QUInt8"), (False, True)):
            yield {"weight_type": weight_type, "per_channel": per_channel}

    def make(self, task: Task, setting: Setting) -> Path:
        """Quantise the weights; see `Tool`."""
        from onnxruntime.quantization import QuantType, quantize_dynamic

        output = task.shipped / "model.onnx"
        quantize_dynamic(
            task.source,
            output,
            weight_type=QuantType[str(setting["weight_type"])],
            per_channel=bool(setting["per_channel"]),
            use_external_data_format=is_large(task),
        )
        return output
