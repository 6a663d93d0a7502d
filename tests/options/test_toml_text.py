"""Options as the text of a file."""

from __future__ import annotations

import tomllib
from pathlib import Path

import numpy as np

from onnxzip.options import Options, to_toml


def test_defaults_are_left_out() -> None:
    assert to_toml(Options()) == to_toml(Options(overwrite=True, cache=Path("kept"))) == ""
    assert tomllib.loads(to_toml(Options(tolerance=0.1, n_jobs=3))) == {"tolerance": 0.1, "jobs": 3}


def test_what_only_python_can_pass_is_a_comment() -> None:
    text = to_toml(Options(calibration=np.ones((2, 2)), metric=np.linalg.norm, tolerance=1))
    assert text.splitlines()[:2] == [
        "# calibration: was passed from Python, as a ndarray",
        "# metric: was passed from Python, as norm",
    ]
    assert tomllib.loads(text) == {"tolerance": 1.0}


def test_settings_of_passes_are_tables() -> None:
    text = to_toml(Options(pass_settings={"dct": {"keep_fraction": 0.5}, "scalar": {}}))
    assert tomllib.loads(text) == {"pass": {"dct": {"keep-fraction": 0.5}}}
