"""Runs a request: what the pipeline is asked for, what is shown of it, exit codes.

The heavy modules are imported when they are needed, so that --help and mistakes in the arguments answer
at once.
"""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from onnxzip.cli.arguments import Request, parse
from onnxzip.cli.command import command_of
from onnxzip.cli.messages import (
    complete,
    describe_doubts,
    describe_failure,
    explain,
    next_step,
    untouched,
)
from onnxzip.cli.report_file import check_report, report_file
from onnxzip.cli.stopping import EXIT_SIGNAL, Stopped, Stops, stoppable
from onnxzip.cli.streams import hushed, open_streams, write_error, write_output
from onnxzip.cli.supervision import supervised
from onnxzip.cli.terminal import print_error, print_table, render, show_progress
from onnxzip.errors import OnnxzipError, ToleranceError, check_room

if TYPE_CHECKING:
    from onnxzip.records.check import Check
    from onnxzip.report.record import Report

EXIT_DONE, EXIT_BAD_INPUT = 0, 1
"""0 is success to every shell (POSIX); 1 is OnnxzipError.exit_code, of which some errors have their
own."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit code.

    Args:
        arguments: without the program's name; those of the process by default.
    """
    open_streams()
    if arguments is not None:
        return _work(arguments, is_process=False)
    try:
        return supervised(lambda: _work(sys.argv[1:], is_process=True))
    except OSError as error:
        reason = error.strerror or error
        print_error(f"the work cannot begin: {reason}; allow more files and processes (ulimit -n, -u)")
        return EXIT_BAD_INPUT


def _work(arguments: Sequence[str], *, is_process: bool) -> int:
    """Run the command line in this process."""
    with stoppable(is_process=is_process) as stops:
        return _answer(arguments, stops)


def _answer(arguments: Sequence[str], stops: Stops) -> int:
    """Run the command line; say what went wrong, and that OUT is untouched only where it is."""
    request = None
    try:
        request = _parse(arguments)
        return run(request, stops)
    except KeyboardInterrupt as error:
        stopped = error if isinstance(error, Stopped) else Stopped()
        if stops.is_done:
            print_error(stopped.word + complete(request))
            return EXIT_DONE
        print_error(stopped.word + untouched(request))
        return EXIT_SIGNAL + stopped.number
    except (Exception, SystemExit) as error:
        if isinstance(error, SystemExit) and request is None:  # --help; of a library it is a failure
            raise
        if request is not None and request.verbose:
            write_error(traceback.format_exc())
        if stops.is_done:
            print_error(f"warning: {explain(error, request)}{complete(request)}")
            return EXIT_DONE
        print_error(explain(error, request))
        return error.exit_code if isinstance(error, OnnxzipError) else EXIT_BAD_INPUT


def _parse(arguments: Sequence[str]) -> Request:
    try:
        return parse(arguments)
    except SystemExit:  # --help and the like have printed what they have to say
        write_output("")
        raise


def run(request: Request, stops: Stops) -> int:
    """Do what is asked for and return the exit code.

    Args:
        request: what is asked for.
        stops: is told when files are put in their places.

    Raises:
        OnnxzipError: it cannot be done.
        OSError: a file cannot be read or written.
    """
    actions: dict[str, Callable[[Request, Stops], int]] = {
        **{"compress": _compress, "decompress": _decompress, "list": _list, "test": _test},
        "bench": _bench,
    }
    if request.report is not None:
        check_report(request, request.report)
    return actions[request.mode](request, stops)


def _compress(request: Request, stops: Stops) -> int:
    check_room(has_scipy=True)
    with hushed():
        from onnxzip import pipeline
        from onnxzip.report.record import Report

    told: list[str] = []  # made before anything is replaced: a fault in it leaves OUT as it was
    with show_progress(is_quiet=request.quiet) as show, report_file(request.report) as file:

        def approve(report: Report) -> None:
            file.write(report)
            told.extend(_outcome(request, report))
            stops.hold()

        try:
            pipeline.compress(
                request.source,
                request.output,
                options=request.options,
                progress=show,
                approve=approve,
                beside=[] if request.report is None else [request.report],
                command=command_of(request),
            )
        except ToleranceError as error:
            if isinstance(error.report, Report):
                file.write(error.report)
                file.put_in_place()
            raise
        try:
            file.put_in_place()
        finally:
            stops.release()
    table, *lines = told
    try:
        write_output(table)
    finally:
        for line in lines:
            print_error(line)
    return EXIT_DONE


def _outcome(request: Request, report: Report) -> list[str]:
    """Return what is told of a report: the table for stdout, "" with -q, and lines for stderr."""
    from onnxzip.report.terminal import render_report

    is_quiet = request.quiet
    table = "" if is_quiet else render(render_report(report, request.verbose))
    warnings = [] if is_quiet else [f"warning: {finding.text}" for finding in report.warnings]
    doubts = _doubts(request, report.checks)
    misses = [
        f"warning: {request.source}: not within the tolerance: {describe_failure(check)}"
        for check in report.checks
        if check.failed and request.options.best_effort
    ]
    return [table, *warnings, *doubts, *misses]


def _list(request: Request, stops: Stops) -> int:
    with hushed():
        from onnxzip import listing
        from onnxzip.report.terminal import render_inspection

    print_table(render_inspection(listing.inspect(request.source)))
    return EXIT_DONE


def _test(request: Request, stops: Stops) -> int:
    if request.against is not None:
        check_room(has_scipy=True)
    with hushed():
        from onnxzip import listing
        from onnxzip.report.terminal import render_checks

    with report_file(request.report) as file:
        checks = listing.verify(
            request.source,
            request.against,
            options=request.options,
            tell=None if request.report is None else file.write,
            command=command_of(request),
        )
        file.put_in_place()
    if not request.quiet:
        print_table(render_checks(checks, request.verbose))
    for doubt in _doubts(request, checks):
        print_error(doubt)
    failed = [check for check in checks if check.failed]
    for check in failed:
        print_error(f"{request.source}: {describe_failure(check)}; {next_step(check)}")
    return EXIT_BAD_INPUT if failed else EXIT_DONE


def _bench(request: Request, stops: Stops) -> int:
    check_room(has_scipy=True)
    with hushed():
        from onnxzip.comparison.comparing import compare
        from onnxzip.report.comparison.table import doubts
        from onnxzip.report.json import export
        from onnxzip.report.terminal import render_comparison

    with show_progress(is_quiet=request.quiet) as show, report_file(request.report) as file:
        found = compare(
            request.source, options=request.options, progress=show, command=command_of(request)
        )
        file.write(found)
        file.put_in_place()
    if request.json:
        write_output(export(found))
    elif not request.quiet:
        print_table(render_comparison(found, request.verbose))
    for line in doubts(found, warns=not request.quiet):
        print_error(line)
    return EXIT_DONE


def _doubts(request: Request, checks: Sequence[Check]) -> list[str]:
    """Return what is not proven, also for -q: silence and exit 0 would be taken for a proof."""
    doubts = describe_doubts(checks)
    return [f"{request.source}: {doubts}"] if doubts else []


def _decompress(request: Request, stops: Stops) -> int:
    with hushed():
        from onnxzip import listing

    listing.decompress(
        request.source, request.output, overwrite=request.options.overwrite, approve=stops.hold
    )
    stops.release()
    return EXIT_DONE
