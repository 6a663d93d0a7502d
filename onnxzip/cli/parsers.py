"""Option values: text -> value, or an `argparse.ArgumentTypeError` that says what is wrong with it."""

from __future__ import annotations

import argparse
import keyword
import math
import re
from collections.abc import Sequence
from pathlib import Path

from onnxzip.records.aliases import Scalar

METRICS = ("rel_l2", "cosine", "psnr", "top1")
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([A-Za-z]+)?")
_UNITS = {
    **{"b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9},
    **{"k": 10**3, "m": 10**6, "g": 10**9},
    **{"kib": 2**10, "mib": 2**20, "gib": 2**30},
}


def read_metric(text: str) -> str:
    """Read a metric of ours or a Python module:function."""
    module, colon, function = text.partition(":")
    names = [*module.split("."), function]
    is_reference = colon and all(name.isidentifier() and not keyword.iskeyword(name) for name in names)
    if text in METRICS or is_reference:
        return text
    raise argparse.ArgumentTypeError(f"'{text}' is none of {', '.join(METRICS)} and no module:function")


def read_positive(text: str) -> float:
    """Read a finite number above 0."""
    value = read_float(text)
    if value <= 0:
        raise argparse.ArgumentTypeError(f"{text} is not above 0")
    return value


def read_at_least_one(text: str) -> int:
    """Read a whole number from 1."""
    return read_int(text, 1)


def read_not_negative(text: str) -> int:
    """Read a whole number from 0."""
    return read_int(text, 0)


def read_int(text: str, least: int | None = None) -> int:
    """Read a whole number, from `least` on."""
    try:
        value = int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"'{text}' is not a whole number") from None
    if least is not None and value < least:
        raise argparse.ArgumentTypeError(f"{text} is less than {least}")
    return value


def read_float(text: str) -> float:
    """Read a finite number."""
    try:
        value = float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"'{text}' is not a number") from None
    if not math.isfinite(value):
        raise argparse.ArgumentTypeError(f"{text} is not finite")
    return value


def read_size(text: str) -> int:
    """Read a number of bytes: 4MB, 1.5MiB, 800kB or 123456."""
    match = _SIZE.fullmatch(text.strip())
    unit = (match[2] or "B").lower() if match else ""
    if match is None or unit not in _UNITS:
        raise argparse.ArgumentTypeError(f"'{text}' is not a size such as 4MB, 1.5MiB or 800kB")
    n_bytes = int(float(match[1]) * _UNITS[unit])
    if n_bytes < 1:
        raise argparse.ArgumentTypeError(f"{text} is less than a byte")
    return n_bytes


def read_names(text: str) -> list[str]:
    """Read names separated by commas."""
    names = [name.strip() for name in text.split(",")]
    if not all(names):
        raise argparse.ArgumentTypeError(f"'{text}' is not a list of names separated by commas")
    return names


def read_report_path(text: str) -> Path:
    """Read the path of a report, whose suffix chooses its form."""
    from onnxzip.report.registry import exporters

    suffixes = exporters()
    if Path(text).suffix.lower() not in suffixes:
        raise argparse.ArgumentTypeError(f"{text}: a report is a {' or a '.join(suffixes)} file")
    return Path(text)


def read_choice(values: Sequence[Scalar], text: str) -> Scalar:
    """Read one of the given values."""
    for value in values:
        if str(value) == text:
            return value
    raise argparse.ArgumentTypeError(f"'{text}' is none of {', '.join(map(str, values))}")
