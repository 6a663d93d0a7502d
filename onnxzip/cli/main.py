"""Runs a request and speaks to the user: progress, tables, one-line errors, exit codes.

The only file that prints. The heavy modules are imported when they are needed, so that --help and
mistakes in the arguments answer at once.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from onnxzip.cli.arguments import Request, flag_of, parse
from onnxzip.errors import OnnxzipError, OutputError, UsageError
from onnxzip.progress import ShowProgress

if TYPE_CHECKING:
    from rich.console import RenderableType

    from onnxzip.options import Options
    from onnxzip.records.check import Check
    from onnxzip.report.record import Report


EXIT_DONE, EXIT_BAD_INPUT = 0, 1

EXIT_SIGNAL = 128
"""Added to the number of the signal that ended the work, as shells do."""

_PIPE_WIDTH = 10_000


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit code.

    Args:
        arguments: without the program's name; those of the process by default.
    """
    request = None
    try:
        request = parse(sys.argv[1:] if arguments is None else arguments)
        with _terminable():
            return run(request)
    except KeyboardInterrupt as error:
        is_terminated = isinstance(error, _Terminated)
        _print_error(("terminated" if is_terminated else "interrupted") + _untouched(request))
        return EXIT_SIGNAL + (signal.SIGTERM if is_terminated else signal.SIGINT)
    except Exception as error:
        if request is not None and request.verbose:
            traceback.print_exc()
        _print_error(_explain(error, request))
        return error.exit_code if isinstance(error, OnnxzipError) else EXIT_BAD_INPUT


class _Terminated(KeyboardInterrupt):
    """SIGTERM came: end like Ctrl-C, so that temporary files go."""


@contextmanager
def _terminable() -> Iterator[None]:
    """Let SIGTERM raise an exception; Python itself would just stop."""
    if threading.current_thread() is not threading.main_thread():  # only there signals can be handled
        yield
        return

    def stop(*_: object) -> None:
        raise _Terminated

    previous = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)


def run(request: Request) -> int:
    """Do what is asked for and return the exit code.

    Raises:
        OnnxzipError: it cannot be done.
        OSError: a file cannot be read or written.
    """
    actions = {"compress": _compress, "list": _list, "test": _test, "decompress": _decompress}
    if request.report is not None:
        _check_report(request, request.report)
    return actions[request.mode](request)


def _check_report(request: Request, report: Path) -> None:
    """Refuse a report that cannot be written, before any work is done."""
    for other in (request.source, request.output, request.options.get("calibration")):
        if other is not None and _is_same_file(other, report):
            raise UsageError(f"--report {report}: that is {other}; give the report a name of its own")
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


def _compress(request: Request) -> int:
    from onnxzip import pipeline
    from onnxzip.report.terminal import render_report

    with _progress(request) as show, _report_file(request.report) as write_report:
        result = pipeline.compress(
            request.source,
            request.output,
            options=_options(request),
            progress=show,
            approve=write_report,
        )
    if not request.quiet:
        _print(render_report(result.report, request.verbose))
    return EXIT_DONE


def _list(request: Request) -> int:
    from onnxzip import listing as archive
    from onnxzip.report.terminal import render_inspection

    _print(render_inspection(archive.inspect(request.source)))
    return EXIT_DONE


def _test(request: Request) -> int:
    from onnxzip import listing as archive
    from onnxzip.report.terminal import render_checks

    checks = archive.verify(request.source, request.against, options=_options(request))
    if not request.quiet:
        _print(render_checks(checks, request.verbose))
    failed = [check for check in checks if not check.passed]
    for check in failed:
        _print_error(f"{request.source}: {_describe_failure(check)}")
    return EXIT_BAD_INPUT if failed else EXIT_DONE


def _decompress(request: Request) -> int:
    from onnxzip import listing as archive

    overwrite = bool(request.options.get("overwrite"))
    archive.decompress(request.source, request.output, overwrite=overwrite)
    return EXIT_DONE


def _options(request: Request) -> Options:
    from onnxzip.options import Options

    return Options(**request.options)


def _describe_failure(check: Check) -> str:
    from onnxzip.report.numbers import format_metric

    value, limit = (format_metric(check.metric, number) for number in (check.value, check.limit))
    return (
        f"{check.kind} check failed on {check.provider}: {check.metric} is {value}, the limit is {limit}"
    )


@contextmanager
def _report_file(path: Path | None) -> Iterator[Callable[[Report], None]]:
    """Yield what writes a report to a temporary file, which is renamed when all went well.

    It is called before the model is put in its place, so that a full disk leaves both as they were.
    """
    if path is None:
        yield lambda report: None
        return
    from onnxzip.graph.writing.files import replace_file
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


@contextmanager
def _progress(request: Request) -> Iterator[ShowProgress | None]:
    """Show a progress bar on stderr, when that is a terminal and -q is not given."""
    if request.quiet or not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.markup import escape
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bars:
        task = bars.add_task("starting", total=1.0)
        yield lambda stage, fraction: bars.update(task, description=escape(stage), completed=fraction)


def _print(content: RenderableType) -> None:
    """Print to stdout; a reader that has gone away (`| head`) is no error, the work is done.

    What is not a terminal has no width: lines stay whole, so that they can be searched.
    """
    from rich.console import Console

    width = None if sys.stdout.isatty() or "COLUMNS" in os.environ else _PIPE_WIDTH
    console = Console(width=width, highlight=False)
    with console.capture() as captured:
        console.print(content)
    encoding = sys.stdout.encoding or "utf-8"
    text = captured.get().encode(encoding, "replace").decode(encoding)
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _print_error(message: str) -> None:
    with suppress(BrokenPipeError):
        print(f"onnxzip: {' '.join(message.split())}", file=sys.stderr)


def _explain(error: Exception, request: Request | None) -> str:
    """Return what went wrong, where, and what to do."""
    source = "" if request is None else str(request.source)
    match error:
        case OnnxzipError():
            message = error.worded(flag_of)
            is_placed = isinstance(error, UsageError) or _names_its_place(message, request)
            return message if is_placed else f"{source}: {message}"
        case MemoryError():
            return f"{source}: out of memory; free some, or use a machine with more" + _untouched(
                request
            )
        case OSError():
            place = error.filename or source
            return f"{place}: {error.strerror or error}"
    finding = f"internal error: {type(error).__name__}: {error}"
    is_shown = request is not None and request.verbose
    return finding if is_shown else f"{finding} (run with -v for the traceback)"


def _names_its_place(message: str, request: Request | None) -> bool:
    """Whether a message says which file or option it is about."""
    if request is None or message.startswith("-"):
        return True
    files = (request.source, request.output, request.report, request.against)
    data = (request.options.get(key) for key in ("calibration", "labels", "custom_ops"))
    return any(str(path) in message for path in (*files, *data) if path is not None)


def _untouched(request: Request | None) -> str:
    return f"; {request.output} is untouched" if request is not None and request.output else ""
