"""The Python call that a report gives: valid Python, with names for what no text can hold."""

from __future__ import annotations

import ast
from pathlib import Path

import numpy as np

from onnxzip.options import described_call


def test_what_a_text_can_hold_stands_in_the_call() -> None:
    settings = {
        **{"source": Path("it's.onnx"), "output": "out.onnx", "tolerance": np.float32(0.5), "level": 9},
        **{"passes": ("dct", "scalar"), "pass_settings": {"dct": {"block": 8}}},
        **{"seed": np.int64(3), "best_effort": True, "labels": None},
    }
    text = described_call("compress", settings, 2)
    assert text.splitlines() == [
        "import onnxzip",
        """onnxzip.compress("it's.onnx", 'out.onnx', tolerance=0.5, level=9, """
        "passes=['dct', 'scalar'], pass_settings={'dct': {'block': 8}}, seed=3, "
        "best_effort=True, labels=None)",
    ]
    ast.parse(text)


def test_the_rest_is_named_and_its_type_told() -> None:
    settings = {"source": b"model", "calibration": {"x": np.zeros(3)}, "metric": max, "skip": {"a"}}
    text = described_call("verify", settings, 1)
    assert text.splitlines() == [
        "import onnxzip",
        "# source: of type builtins.bytes",
        "# calibration: of type builtins.dict",
        "# metric: of type builtins.builtin_function_or_method",
        "# skip: of type builtins.set",
        "onnxzip.verify(source, calibration=calibration, metric=metric, skip=skip)",
    ]
    ast.parse(text)
