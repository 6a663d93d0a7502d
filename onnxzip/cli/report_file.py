"""The file of --report: refused before any work is done, written before the model is in its place."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from onnxzip.cli.arguments import Request
from onnxzip.disk.replacing import Replacement, check_replaceable, is_same_file, real_place, write_beside
from onnxzip.errors import OutputError, UsageError

if TYPE_CHECKING:
    from onnxzip.report.record import Reported
    from onnxzip.trust.papers import Papers


def check_report(request: Request, report: Path) -> None:
    """Refuse a report that cannot be written, before any work is done."""
    output = request.output
    beside = request.delivery.beside(output) if isinstance(output, Path) else ()
    keys = (*request.delivery.read, request.public_key, request.identity)
    for other in (request.source, output, request.against, *request.options.files, *beside, *keys):
        if isinstance(other, Path) and is_same_file(other, report):
            raise UsageError(f"`report` {report}: that is {other}; give the report a name of its own")
    if report.is_file():
        check_replaceable(report)
    folder = real_place(report).absolute().parent
    reason = ""
    if report.is_dir():
        reason = "is a directory"
    elif report.exists() and not report.is_file():
        reason = "is not a regular file (a device or pipe)"
    elif not folder.is_dir():
        raise OutputError(f"{report}: the folder {folder} does not exist; make it first")
    elif not os.access(folder, os.W_OK):
        reason = f"the folder {folder} is not writable"
    if reason:
        raise OutputError(f"{report}: {reason}; name another file for the report")


def check_key_kept(request: Request) -> None:
    """Refuse to write a model over the key that opens it."""
    output, key = request.output, request.identity
    if isinstance(output, Path) and key is not None and is_same_file(output, key):
        raise OutputError(f"{output}: is the key that opens the model; give the output another name")


class ReportFile:
    """Writes a report beside its place, and puts it there when the model is in its own."""

    def __init__(self, path: Path | None, stack: ExitStack, papers: Papers | None = None) -> None:
        self._path, self._papers = path, papers
        if path is not None and papers is not None:
            papers.check_beside(path, "report")
        self._stack = stack
        self._new: Replacement | None = None

    def write(self, report: Reported) -> None:
        """Write all of a report, so that a full disk is known before the model is put in its place."""
        if self._path is None:
            return
        from onnxzip.report.writing import blaming, exported

        with blaming(self._path):
            content = exported(report, self._path)
            self._new = write_beside(self._stack, self._path, content)
        if self._papers is not None:
            self._papers.sign_too(self._path, content)

    def put_in_place(self) -> None:
        """Give the report that was written its name."""
        from onnxzip.report.writing import blaming

        if self._path is not None and self._new is not None:
            with blaming(self._path):
                self._new.put_in_place()


@contextmanager
def report_file(path: Path | None, papers: Papers | None = None) -> Iterator[ReportFile]:
    """Yield what writes a report; one that is not put in its place goes in the end.

    Args:
        path: where it goes.
        papers: sign it with the model.

    Raises:
        UsageError: it is to be signed, and does not lie beside the model.
    """
    with ExitStack() as stack:
        yield ReportFile(path, stack, papers)
