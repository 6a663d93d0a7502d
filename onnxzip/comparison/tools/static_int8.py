"""onnxruntime's static quantisation: QDQ pairs, ranges of activations from calibration inputs.

As its documentation advises for CPUs: prepared by `quant_pre_process`, unsigned activations, signed
weights with a scale for each channel, minima and maxima.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable
from pathlib import Path

from onnxzip.comparison.tools._protos import is_large
from onnxzip.comparison.tools._tool import Setting, Task, Tool
from onnxzip.records.aliases import Feeds


class StaticInt8(Tool):
    """Calibrated with the user's inputs, or those that are made up for onnxzip."""

    name = "onnxruntime static int8"
    needs = ("sympy",)

    def settings(self) -> Generator[Setting, bool, None]:
        """Yield the usual preparation; without symbolic shapes where that fails or loses too much."""
        if not (yield {"QDQ": True, "per_channel": True}):
            yield {"QDQ": True, "per_channel": True, "skip_symbolic_shape": True}

    def make(self, task: Task, setting: Setting) -> Path:
        """Prepare and quantise the model; see `Tool`."""
        from onnxruntime.quantization import QuantFormat, QuantType, quantize_static
        from onnxruntime.quantization.shape_inference import quant_pre_process

        ready, output, has_data = task.work / "ready.onnx", task.shipped / "model.onnx", is_large(task)
        quant_pre_process(
            task.source,
            ready,
            skip_symbolic_shape=bool(setting.get("skip_symbolic_shape", False)),
            save_as_external_data=has_data,
            all_tensors_to_one_file=True,
        )
        quantize_static(
            ready,
            output,
            _Reader(task.feeds),
            quant_format=QuantFormat.QDQ,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            per_channel=True,
            use_external_data_format=has_data,
        )
        return output


class _Reader:
    """Hands feeds to onnxruntime, as its CalibrationDataReader does."""

    def __init__(self, feeds: Iterable[Feeds]) -> None:
        self._feeds = iter(feeds)

    def get_next(self) -> dict[str, object] | None:
        """Return the next feed, or None behind the last."""
        feed = next(self._feeds, None)
        return None if feed is None else dict(feed)
