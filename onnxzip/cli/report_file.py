"""The file of --report: refused before any work is done, written before the model is in its place."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from onnxzip.cli.arguments import Request
from onnxzip.errors import OutputError, UsageError

if TYPE_CHECKING:
    from onnxzip.report.record import Report


def check_report(request: Request, report: Path) -> None:
    """Refuse a report that cannot be written, before any work is done."""
    for other in (request.source, request.output, request.options.calibration):
        if isinstance(other, Path) and _is_same_file(other, report):
            raise UsageError(f"`report` {report}: that is {other}; give the report a name of its own")
    folder = report.absolute().parent
    reason = ""
    if report.is_dir():
        reason = "is a directory"
    elif report.exists() and not report.is_file():
        reason = "is not a regular file (a device or pipe)"
    elif not folder.is_dir() or not os.access(folder, os.W_OK):
        reason = f"the folder {report.parent} is not writable"
    if reason:
        raise OutputError(f"{report}: {reason}; name another file for the report")


def _is_same_file(left: Path, right: Path) -> bool:
    if left.exists() and right.exists():
        return left.samefile(right)
    return left.resolve() == right.resolve()


@contextmanager
def report_file(path: Path | None) -> Iterator[Callable[[Report], None]]:
    """Yield what writes a report to a temporary file, which is renamed when all went well.

    It is called before the model is put in its place, so that a full disk leaves both as they were.
    """
    if path is None:
        yield lambda report: None
        return
    from onnxzip.graph import replace_file
    from onnxzip.report.registry import exporters

    with ExitStack() as stack:
        with _blaming(path):
            file = stack.enter_context(replace_file(path))

        def write(report: Report) -> None:
            with _blaming(path):
                file.write(exporters()[path.suffix.lower()](report).encode())
                file.flush()
                os.fsync(file.fileno())

        yield write
        with _blaming(path):
            stack.close()


@contextmanager
def _blaming(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        reason = error.strerror or error
        raise OutputError(f"{path}: the report cannot be written: {reason}") from error
