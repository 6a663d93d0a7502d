"""Bytes of the files that onnxzip makes of models/, pinned in sizes.csv beside this file.

    python -m tests.regression.sizes      measures every row, rewrites the file and prints what changed

A row is a model at a level, with the images of models/digits_calibration.npz ("data") or with generated
inputs ("none"), and otherwise default options: `loss` of the outputs is at most `limit`.
"""

from __future__ import annotations

import csv
import os
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

import onnxzip
from tests.judge import drift_on_cpu
from tests.test_models import MODELS, NAMES

PINNED = Path(__file__).with_name("sizes.csv")
COLUMNS = ("model", "level", "data", "bytes", "loss", "limit")
LEVELS = (1, 3, 6, 9)
MAX_GROWTH = 0.01
"""By this fraction a file may grow: what another machine's BLAS changes in the search stays below it."""
MAX_STALENESS = 0.05
"""By this fraction a file may shrink: beyond it the pin would let most of the gain be lost again."""


class Setting(NamedTuple):
    """What a row is about: a model's name, the level, and "data" or "none"."""

    model: str
    level: int
    data: str


class Size(NamedTuple):
    """What was measured: the file's bytes, the relative error of its outputs, and its limit."""

    n_bytes: int
    loss: float
    limit: float


SETTINGS = tuple(
    Setting(model, level, data) for model in NAMES for level in LEVELS for data in ("none", "data")
)


def measure(setting: Setting) -> Size:
    """Compress the model of a row.

    Raises:
        OnnxzipError: no file keeps the tolerance.
    """
    calibration = MODELS / "digits_calibration.npz" if setting.data == "data" else None
    path = MODELS / f"{setting.model}.onnx"
    report = onnxzip.compress(path, level=setting.level, calibration=calibration).report
    drift = drift_on_cpu(report.checks)
    return Size(report.bytes_after, drift.value, drift.limit)


def read(path: Path = PINNED) -> dict[Setting, Size]:
    """Read the pinned sizes.

    Raises:
        FileNotFoundError: there is no such file; nothing is written in its place.
        ValueError: its columns are others.
    """
    with path.open(newline="", encoding="utf-8") as file:
        header, *rows = csv.reader(file)
    if tuple(header) != COLUMNS:
        raise ValueError(f"{path} has the columns {header}, not {COLUMNS}")
    return {
        Setting(model, int(level), data): Size(int(n_bytes), float(loss), float(limit))
        for model, level, data, n_bytes, loss, limit in rows
    }


def write(sizes: Mapping[Setting, Size], path: Path = PINNED) -> None:
    """Write sizes, a row each; the loss is rounded to what a reader compares."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        for setting, size in sizes.items():
            writer.writerow([*setting, size.n_bytes, f"{size.loss:.4f}", f"{size.limit:g}"])


def find_fault(setting: Setting, found: Size, pinned: Mapping[Setting, Size]) -> str | None:
    """Say what is wrong with a size beside its pin; None where nothing is."""
    place = f"{setting.model} -{setting.level} ({setting.data})"
    rewrite = "python -m tests.regression.sizes"
    if setting not in pinned:
        return f"{place} has no row in sizes.csv; add it: {rewrite}"
    before = pinned[setting]
    change = f"{place}: {before.n_bytes:,} -> {found.n_bytes:,} bytes"
    if found.loss > found.limit or found.limit != before.limit:
        return f"{place} loses {found.loss:.4f} of {found.limit:g}; the pinned limit is {before.limit:g}"
    if found.n_bytes > (1 + MAX_GROWTH) * before.n_bytes:
        return (
            f"{change}, more than {MAX_GROWTH:.0%} larger; if that is the price of something: {rewrite}"
        )
    if found.n_bytes < (1 - MAX_STALENESS) * before.n_bytes:
        return f"{change}, more than {MAX_STALENESS:.0%} smaller; pin the gain: {rewrite}"
    return None


def describe_changes(before: Mapping[Setting, Size], after: Mapping[Setting, Size]) -> Iterable[str]:
    """Yield a line for each row that came, went or changed its bytes."""
    for setting in dict.fromkeys((*before, *after)):
        old, new = before.get(setting), after.get(setting)
        place = f"{setting.model:20} -{setting.level} {setting.data:4}"
        if old is None or new is None:
            yield f"{place} {'new' if old is None else 'gone'}"
        elif old.n_bytes != new.n_bytes:
            change = f"{old.n_bytes:9,} -> {new.n_bytes:9,} ({new.n_bytes / old.n_bytes - 1:+.2%})"
            yield f"{place} {change}, loss {old.loss:.4f} -> {new.loss:.4f}"


def main() -> int:
    """Measure all rows, rewrite the file and print the differences."""
    before = read() if PINNED.exists() else {}
    after = {}
    for setting in SETTINGS:
        after[setting] = measure(setting)
        print(".", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    write(after)
    print(*describe_changes(before, after), sep=os.linesep)
    return 0


if __name__ == "__main__":
    sys.exit(main())
