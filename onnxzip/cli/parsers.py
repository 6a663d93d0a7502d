"""Option values: text -> a value of the right type, or an `ArgumentTypeError` that says why not."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from pathlib import Path

from onnxzip.records.aliases import Scalar

_MAX_DIGITS = 400
"""Of a whole number; no setting takes one of more than 20."""


def read_int(text: str) -> int:
    """Read a whole number."""
    if not re.fullmatch(
        rf"[+-]?[0-9]{{1,{_MAX_DIGITS}}}", text
    ):  # int() reads 1_000 and other digits, too
        shown = text if len(text) <= _MAX_DIGITS else f"{text[:20]}..."
        raise argparse.ArgumentTypeError(f"'{shown}' is not a whole number")
    return int(text)


def read_float(text: str) -> float:
    """Read a number."""
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"'{text}' is not a number") from None


def read_path(text: str) -> Path:
    """Read a path; an empty one, of a shell variable that is not set, would be the working folder."""
    if not text:
        raise argparse.ArgumentTypeError("the name of the file is empty")
    return Path(text)


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
    path = Path(text)
    if (path.suffix or path.name).lower() not in suffixes:
        raise argparse.ArgumentTypeError(f"{text}: a report is a {' or a '.join(suffixes)} file")
    return path


def read_choice(values: Sequence[Scalar], text: str) -> Scalar:
    """Read one of the given values."""
    for value in values:
        if str(value) == text:
            return value
    raise argparse.ArgumentTypeError(f"'{text}' is none of {', '.join(map(str, values))}")
