"""Option values: text -> a value of the right type, or an `ArgumentTypeError` that says why not."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from onnxzip.records.aliases import Scalar


def read_int(text: str) -> int:
    """Read a whole number."""
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"'{text}' is not a whole number") from None


def read_float(text: str) -> float:
    """Read a number."""
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"'{text}' is not a number") from None


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
