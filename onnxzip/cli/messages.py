"""What an error says on the command line: one line with its place, in the words of the options."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import TYPE_CHECKING

from onnxzip.cli.arguments import Request, flag_of
from onnxzip.errors import OnnxzipError, OutputError, UsageError, is_out_of_memory, one_line, reason_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from onnxzip.records.check import Check


_EXHAUSTED = (errno.EMFILE, errno.ENFILE)
"""What the system says where it has no file descriptor left to give."""


def explain(error: Exception | SystemExit, request: Request | None) -> str:
    """Return what went wrong, where, and what to do."""
    source = "" if request is None else str(request.source)
    at = f"{source}: " if source else ""
    error = _cause(error)
    match error:
        case OnnxzipError():
            message = error.worded(flag_of)
            is_placed = isinstance(error, UsageError | OutputError) or _names_its_place(message, request)
            return message if is_placed else f"{at}{message}"
        case MemoryError() | ImportError() if is_out_of_memory(error):
            return f"{at}out of memory; free some, or use a machine with more" + untouched(request)
        case OSError() if error.errno in _EXHAUSTED:
            return at + reason_of(error) + untouched(request)
        case OSError():
            return (f"{error.filename}: " if error.filename else at) + reason_of(error)
    finding = f"internal error: {type(error).__name__}: {error}"
    is_shown = request is not None and request.verbose
    return finding if is_shown else f"{finding} (run with -v for the traceback)"


def _cause(error: Exception | SystemExit) -> Exception | SystemExit:
    """Return what an error of a library hides: that there are no file descriptors left."""
    hidden: BaseException | None = error
    while hidden is not None and not isinstance(error, OnnxzipError):
        if isinstance(hidden, OSError) and hidden.errno in _EXHAUSTED:
            return hidden
        hidden = hidden.__cause__ or hidden.__context__
    return error


def _names_its_place(message: str, request: Request | None) -> bool:
    """Whether a message says which file or option it is about."""
    if request is None or message.startswith("-"):
        return True
    files = (request.source, request.output, request.report, request.against)
    data = (request.options.calibration, request.options.labels, request.options.custom_ops)
    return any(one_line(str(path)) in message for path in (*files, *data) if path is not None)


def untouched(request: Request | None) -> str:
    """Say that the output is as it was, where there is one."""
    if request is None or not isinstance(request.output, Path):
        return ""
    if request.several:
        return f"; what is in {request.output} is complete, the rest is untouched"
    return f"; {request.output} is untouched"


def complete(request: Request | None) -> str:
    """Say that the output is what was asked for, where there is one."""
    is_file = request is not None and isinstance(request.output, Path)
    return f"; {request.output} is complete" if request is not None and is_file else ""


def describe_failure(check: Check) -> str:
    """Say which check failed, and by how much."""
    from onnxzip.report.numbers import format_metric

    value, limit = (format_metric(check, number) for number in (check.value, check.limit))
    return (
        f"{check.kind} check failed on {check.provider}: {check.metric} is {value}, the limit is {limit}"
    )


def next_step(check: Check) -> str:
    """Say what to do about a file that fails a test."""
    if check.kind == "drift":
        return f"allow more with {flag_of('tolerance')}, or compress the original again"
    return "get the file again from where it was made"


def describe_doubts(checks: Sequence[Check]) -> str:
    """Say why the verdict proves nothing, "" where it does."""
    from onnxzip.report.tables.verdicts import unproven_reasons

    reasons = unproven_reasons(checks)
    return f"not proven: {'; '.join(reasons)}" if reasons else ""
