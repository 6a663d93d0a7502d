"""Compresses one model: the files that are written of it, and what is told."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from onnxzip.cli.arguments import Request
from onnxzip.cli.asking.places import Place, Stream
from onnxzip.cli.command import command_of
from onnxzip.cli.messages import describe_doubts, describe_failure
from onnxzip.cli.report_file import ReportFile, report_file
from onnxzip.cli.stopping import Stops
from onnxzip.cli.streams import check_binary, hushed, read_input, write_model
from onnxzip.cli.supervision import give_up
from onnxzip.cli.terminal import render
from onnxzip.cli.trusting.passwords import with_password
from onnxzip.errors import OutputError, ToleranceError, check_room
from onnxzip.records.progress import ShowProgress

if TYPE_CHECKING:
    from onnxzip.graph import PlainModel
    from onnxzip.options import Result
    from onnxzip.records.check import Check
    from onnxzip.report.record import Report
    from onnxzip.trust.papers import Papers


@dataclass(frozen=True)
class Told:
    """What is told of a model that was compressed.

    Attributes:
        table: for stdout, or stderr where the model itself goes to stdout; "" with -q.
        lines: for stderr.
        report: the record of it all.
    """

    table: str
    lines: tuple[str, ...]
    report: Report


def compress_file(request: Request, stops: Stops, show: ShowProgress | None) -> Told:
    """Compress one model, and put it and its report in their places.

    Args:
        request: what is asked for.
        stops: is told when files are put in their places.
        show: shows progress.

    Raises:
        OnnxzipError: it cannot be done; the report of a model that misses the tolerance is written.
    """
    check_room(has_scipy=True)
    with hushed():
        from onnxzip import pipeline
        from onnxzip.report.record import Report
        from onnxzip.trust.papers import papers_of

    told: list[Told] = []  # made before anything is replaced: a fault in it leaves OUT as it was
    request = with_password(request)
    output = request.output if isinstance(request.output, Path) else None
    with papers_of(request.delivery, output) as papers, report_file(request.report, papers) as file:

        def approve(report: Report) -> None:
            file.write(report)
            told.append(_told(request, report))
            if output is not None:
                stops.hold()

        try:
            result = pipeline.compress(
                model_at(request.source),
                output,
                options=request.options,
                progress=show,
                approve=approve,
                beside=[] if request.report is None else [request.report],
                papers=papers,
                command=command_of(request),
                give_up=give_up if stops.is_process else None,
            )
        except ToleranceError as error:
            if isinstance(error.report, Report):
                file.write(error.report)
                file.put_in_place()
            raise
        if isinstance(request.output, Stream):
            _pipe(result, request.output, stops)
        _finish(papers, file, stops)
    return told[0]


def _finish(papers: Papers, file: ReportFile, stops: Stops) -> None:
    try:
        papers.put_in_place()
        file.put_in_place()
    finally:
        stops.release()


def model_at(source: Place) -> PlainModel:
    """Return a model as the pipeline takes it.

    Raises:
        InputError: nothing can be read from stdin.
    """
    return read_input(source.name) if isinstance(source, Stream) else source


def check_streams(request: Request) -> None:
    """Refuse to send a model to a terminal, before any work is done.

    Raises:
        UsageError: that is what is asked for.
    """
    if isinstance(request.output, Stream) and not request.is_dry:
        check_binary(request.output.name)


def _pipe(result: Result, output: Stream, stops: Stops) -> None:
    """Send a model to stdout.

    Raises:
        OutputError: it cannot be written, or takes more than one file.
    """
    if result.model is None:
        raise OutputError(f"{output}: the model takes more than 2 GiB, and so two files; name OUT")
    write_model(result.model.SerializeToString(deterministic=True), output.name)
    stops.hold()


def _told(request: Request, report: Report) -> Told:
    from onnxzip.report.terminal import render_report

    is_quiet = request.quiet
    content = render_report(report, request.verbose)
    table = "" if is_quiet else render(content, on_stderr=isinstance(request.output, Stream))
    warnings = [] if is_quiet else [f"warning: {finding.text}" for finding in report.warnings]
    misses = [
        f"warning: {request.source}: not within the tolerance: {describe_failure(check)}"
        for check in report.checks
        if check.failed and request.options.best_effort
    ]
    return Told(table, (*warnings, *doubts_of(request, report.checks), *misses), report)


def doubts_of(request: Request, checks: Sequence[Check]) -> list[str]:
    """Return what is not proven, also for -q: silence and exit 0 would be taken for a proof."""
    doubts = describe_doubts(checks)
    return [f"{request.source}: {doubts}"] if doubts else []
