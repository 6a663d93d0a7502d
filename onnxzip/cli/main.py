"""Runs a request: what the pipeline is asked for, what is shown of it, exit codes.

The heavy modules are imported when they are needed, so that --help and mistakes in the arguments answer
at once.
"""

from __future__ import annotations

import signal
import sys
import threading
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from onnxzip.cli.arguments import Request, parse
from onnxzip.cli.messages import describe_doubts, describe_failure, explain, untouched
from onnxzip.cli.report_file import check_report, report_file
from onnxzip.cli.supervision import supervised
from onnxzip.cli.terminal import print_error, print_table, show_progress
from onnxzip.errors import OnnxzipError, ToleranceError

if TYPE_CHECKING:
    from onnxzip.records.check import Check

EXIT_DONE, EXIT_BAD_INPUT = 0, 1
"""0 is success to every shell (POSIX); 1 is OnnxzipError.exit_code, of which some errors have their
own."""


EXIT_SIGNAL = 128
"""Added to the number of the signal that ended the work, as shells do."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit code.

    Args:
        arguments: without the program's name; those of the process by default.
    """
    if arguments is None and (code := supervised()) is not None:
        return code
    request = None
    try:
        request = parse(sys.argv[1:] if arguments is None else arguments)
        with _terminable():
            return run(request)
    except KeyboardInterrupt as error:
        is_terminated = isinstance(error, _Terminated)
        print_error(("terminated" if is_terminated else "interrupted") + untouched(request))
        return EXIT_SIGNAL + (signal.SIGTERM if is_terminated else signal.SIGINT)
    except Exception as error:
        if request is not None and request.verbose:
            traceback.print_exc()
        print_error(explain(error, request))
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
        check_report(request, request.report)
    return actions[request.mode](request)


def _compress(request: Request) -> int:
    from onnxzip import pipeline
    from onnxzip.report.record import Report
    from onnxzip.report.terminal import render_report

    refused: ToleranceError | None = None
    with show_progress(is_quiet=request.quiet) as show, report_file(request.report) as write_report:
        try:
            result = pipeline.compress(
                request.source,
                request.output,
                options=request.options,
                progress=show,
                approve=write_report,
            )
        except ToleranceError as error:
            if not isinstance(error.report, Report):
                raise
            refused = error
            write_report(error.report)
    if refused is not None:
        raise refused
    if not request.quiet:
        print_table(render_report(result.report, request.verbose))
        for finding in result.report.warnings:
            print_error(f"warning: {finding.text}")
    _tell_doubts(request, result.report.checks)
    for check in result.report.checks:
        if check.failed and request.options.best_effort:
            print_error(
                f"warning: {request.source}: not within the tolerance: {describe_failure(check)}"
            )
    return EXIT_DONE


def _list(request: Request) -> int:
    from onnxzip import listing
    from onnxzip.report.terminal import render_inspection

    print_table(render_inspection(listing.inspect(request.source)))
    return EXIT_DONE


def _test(request: Request) -> int:
    from onnxzip import listing
    from onnxzip.report.terminal import render_checks

    checks = listing.verify(request.source, request.against, options=request.options)
    if not request.quiet:
        print_table(render_checks(checks, request.verbose))
    _tell_doubts(request, checks)
    failed = [check for check in checks if check.failed]
    for check in failed:
        print_error(f"{request.source}: {describe_failure(check)}")
    return EXIT_BAD_INPUT if failed else EXIT_DONE


def _tell_doubts(request: Request, checks: Sequence[Check]) -> None:
    """Say what is not proven, also with -q: silence and exit 0 would be taken for a proof."""
    doubts = describe_doubts(checks)
    if doubts:
        print_error(f"{request.source}: {doubts}")


def _decompress(request: Request) -> int:
    from onnxzip import listing

    listing.decompress(request.source, request.output, overwrite=request.options.overwrite)
    return EXIT_DONE
