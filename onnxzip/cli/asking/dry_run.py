"""--dry-run: what would be done, about how long it would take, about how large the result would be."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from onnxzip.cli.arguments import Request
from onnxzip.cli.messages import explain
from onnxzip.cli.progress.shown import show_progress
from onnxzip.cli.several.jobs import Job, find_jobs
from onnxzip.cli.several.one import model_at
from onnxzip.cli.several.run import worst_of
from onnxzip.cli.streams import hushed, write_output
from onnxzip.cli.supervision import give_up
from onnxzip.cli.terminal import print_error
from onnxzip.errors import OnnxzipError, check_room
from onnxzip.records.printable import printable
from onnxzip.report.numbers import format_bytes, format_memory, format_ratio

if TYPE_CHECKING:
    from onnxzip.propose.forecast import Forecast


def dry_run(request: Request, *, is_process: bool) -> int:
    """Say what compressing would come to; write nothing.

    Args:
        request: what is asked for.
        is_process: whether the process ends with the run.

    Returns:
        The exit code: of several models the worst.

    Raises:
        OnnxzipError: compressing would fail, as far as that is known before its search.
    """
    check_room(has_scipy=True)
    if not request.several:
        write_output(_told(_forecast(request, give_up if is_process else None)))
        return 0
    assert isinstance(request.output, Path)
    found = find_jobs(request.several, request.output, request.options.cache)
    codes = [_try(job, request) for job in found.jobs]
    return worst_of(codes)


def _forecast(request: Request, give_up: Callable[[], object] | None = None) -> Forecast:
    with hushed():
        from onnxzip.propose.forecast import forecast

    output = request.output if isinstance(request.output, Path) else None
    with show_progress(is_quiet=request.quiet, stage=f"looking at {request.source}"):
        options = replace(request.options, overwrite=True)  # of what is there nothing is written over
        return forecast(model_at(request.source), options, output, give_up)


def _try(job: Job, whole: Request) -> int:
    """Tell of one of several models in a line; return its exit code."""
    request = job.request(whole, whole.options.n_jobs, whole.options.max_memory)
    if not job.output.parent.is_dir():  # it would be made
        request = replace(request, output=None)
    try:
        found = _forecast(request)
    except OnnxzipError as error:
        print_error(explain(error, request))
        return error.exit_code
    size, seconds = found.n_bytes_after[1], found.seconds[1]
    write_output(
        f"{printable(job.name)}: {format_bytes(found.n_bytes)} -> about {format_memory(size)}, "
        f"in about {_rounded(seconds)}\n"
    )
    return 0


def _rounded(seconds: float) -> str:
    """Return a time as exactly as it is known: "25 s", "4 min", "2 h"."""
    if seconds < 90:
        step = 1 if seconds < 10 else 5
        return f"{max(round(seconds / step), 1) * step} s"
    return f"{round(seconds / 60)} min" if seconds < 90 * 60 else f"{round(seconds / 3600)} h"


def _told(found: Forecast) -> str:
    """Return what is told of one model, in lines of at most 80 columns but for names."""
    least, size, most = found.n_bytes_after
    soon, seconds, late = found.seconds
    ratio = format_ratio(found.n_bytes, size)
    is_given = found.bits is None
    about = (
        f"at most {format_bytes(size)}, as asked for"
        if is_given
        else f"about {format_memory(size)} ({format_memory(least)} to {format_memory(most)}), {ratio}"
    )
    bits = "" if is_given else f"; about {found.bits:.1f} bits a number"
    lines = (
        f"model    {printable(str(found.source))}, {format_bytes(found.n_bytes)}",
        f"weights  {found.n_weights:,} of {found.n_numbers:,} numbers in all; "
        f"{found.n_left:,} left as they are",
        f"inputs   {found.inputs.partition(', held out')[0] or 'as given'}",
        f"size     {about}{bits}",
        f"time     about {_rounded(seconds)} ({_rounded(soon)} to {_rounded(late)})",
        "",
        "Estimated from one run of the model with noise on its weights, and from what",
        "other models took; nothing was written.",
    )
    return "\n".join(lines) + "\n"
