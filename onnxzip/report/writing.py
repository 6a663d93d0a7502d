"""Writes a report to a file, in the form of its suffix; what was there stays until that is whole."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from os import PathLike
from pathlib import Path

from onnxzip.disk.replacing import real_place, replacement
from onnxzip.errors import OutputError, UsageError, reason_of
from onnxzip.report.record import Report, Reported
from onnxzip.report.registry import exporters


def exported(report: Reported, path: Path) -> bytes:
    """Return what a file of this suffix holds; names that are no UTF-8 are escaped."""
    return exporters()[path.suffix.lower()](report).encode(errors="backslashreplace")


def write_report(report: Report, path: str | PathLike[str]) -> None:
    """Write a report; see `Report.write`."""
    place = report_path(path)
    with blaming(place), replacement(real_place(place)) as new:
        new.file.write(exported(report, place))
        new.complete()
        new.put_in_place()


@contextmanager
def blaming(path: Path) -> Iterator[None]:
    """Say of a failure inside that it is the report that cannot be written."""
    try:
        yield
    except OSError as error:
        raise OutputError(f"{path}: the report cannot be written: {reason_of(error)}") from error


def report_path(path: str | PathLike[str]) -> Path:
    """Return the path of a report.

    Raises:
        UsageError: there is no format for its suffix.
    """
    place = Path(os.fspath(path))
    if place.suffix.lower() not in exporters():
        raise UsageError(f"`report` {place}: is not a {' or a '.join(exporters())} file; name one")
    return place
