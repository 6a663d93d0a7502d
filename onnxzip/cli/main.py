"""Runs a request: what the pipeline is asked for, what is shown of it, exit codes.

The heavy modules are imported when they are needed, so that --help and mistakes in the arguments answer
at once.
"""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path

from onnxzip.cli.arguments import Request, parse
from onnxzip.cli.asking.places import Stream
from onnxzip.cli.command import command_of
from onnxzip.cli.messages import complete, describe_failure, explain, next_step, untouched
from onnxzip.cli.progress.shown import show_progress
from onnxzip.cli.report_file import check_key_kept, check_report, report_file
from onnxzip.cli.several.one import check_streams, compress_file, doubts_of, model_at
from onnxzip.cli.stopping import EXIT_SIGNAL, Stopped, Stops, stoppable
from onnxzip.cli.streams import hushed, open_streams, write_error, write_model, write_output
from onnxzip.cli.supervision import supervised
from onnxzip.cli.terminal import print_error, print_table, wrapped
from onnxzip.errors import OnnxzipError, check_room

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
        return _stopped(stopped, request)
    except (Exception, SystemExit) as error:
        if stops.stopped is not None:
            return _stopped(stops.stopped, request)
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


def _stopped(stopped: Stopped, request: Request | None) -> int:
    print_error(stopped.word + untouched(request))
    return EXIT_SIGNAL + stopped.number


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
    check_streams(request)
    if request.report is not None and not request.several:
        check_report(request, request.report)
    return actions[request.mode](request, stops)


def _compress(request: Request, stops: Stops) -> int:
    if request.is_dry:
        from onnxzip.cli.asking.dry_run import dry_run

        return dry_run(request, is_process=stops.is_process)
    if request.several:
        from onnxzip.cli.several.run import compress_several

        return compress_several(request, stops)
    with show_progress(is_quiet=request.quiet) as show:
        told = compress_file(request, stops, show)
    try:
        if isinstance(request.output, Stream):
            write_error(told.table)
        else:
            write_output(told.table)
    finally:
        for line in told.lines:
            print_error(line)
    return EXIT_DONE


def _list(request: Request, stops: Stops) -> int:
    with hushed():
        from onnxzip import listing
        from onnxzip.report.json import inspection_json
        from onnxzip.report.terminal import render_inspection
        from onnxzip.trust.receiving import opened

    found = listing.inspect(opened(model_at(request.source), request.identity))
    if request.json:
        write_output(inspection_json(found))
    else:
        print_table(render_inspection(found))
    return EXIT_DONE


def _test(request: Request, stops: Stops) -> int:
    if request.against is not None:
        check_room(has_scipy=True)
    with hushed():
        from onnxzip import listing
        from onnxzip.report.json import checks_json
        from onnxzip.report.terminal import render_checks
        from onnxzip.trust.receiving import received

    model, receipt = received(model_at(request.source), request.identity, request.public_key)
    original = None if request.against is None else model_at(request.against)
    showing = show_progress(is_quiet=request.quiet, stage=f"testing {request.source}")
    with showing, report_file(request.report) as file:
        checks = listing.verify(
            model,
            original,
            options=request.options,
            tell=None if request.report is None else file.write,
            command=command_of(request),
        )
        file.put_in_place()
    if request.json:
        write_output(checks_json(str(request.source), checks, None if receipt is None else receipt.text))
    elif not request.quiet:
        print_table(render_checks(checks, request.verbose))
        if receipt is not None:
            write_output(wrapped(receipt.text + "\n"))
    for doubt in doubts_of(request, checks):
        print_error(doubt)
    failed = [check for check in checks if check.failed]
    for check in failed:
        print_error(f"{request.source}: {describe_failure(check)}; {next_step(check)}")
    return EXIT_BAD_INPUT if failed else EXIT_DONE


def _bench(request: Request, stops: Stops) -> int:
    assert isinstance(request.source, Path)
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


def _decompress(request: Request, stops: Stops) -> int:
    with hushed():
        from onnxzip import graph, listing
        from onnxzip.trust.receiving import opened

    check_key_kept(request)
    source, output = opened(model_at(request.source), request.identity), request.output
    with show_progress(is_quiet=request.quiet, stage=f"decompressing {request.source}"):
        if isinstance(output, Path):
            overwrite = request.options.overwrite
            listing.decompress(source, output, overwrite=overwrite, approve=stops.hold)
            stops.release()
            return EXIT_DONE
        plain = graph.to_proto(listing.decompress(source))
    assert isinstance(output, Stream)
    write_model(plain.SerializeToString(deterministic=True), output.name)
    return EXIT_DONE
