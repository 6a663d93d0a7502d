"""compare(): compress -> run the original -> have other tools try -> measure what all of them cost."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from onnxzip import graph, pipeline
from onnxzip.comparison.bench import Bench
from onnxzip.comparison.tools import tools
from onnxzip.comparison.trying import reason_of
from onnxzip.disk.temporary import temporary_folder
from onnxzip.errors import ToleranceError, UsageError, VerificationError
from onnxzip.measure.examination import examine
from onnxzip.measure.subject import Subject
from onnxzip.options import Options
from onnxzip.records.progress import ShowProgress, part, rising, show_nothing
from onnxzip.report.comparison.record import OWN_NAME, ComparedTool, Comparison
from onnxzip.report.json import SCHEMA

_OWN_SHARE, _TOOLS_SHARE = 0.4, 0.85
"""Of all the work that is done when onnxzip is, and when other tools are."""


def compare(
    source: Path,
    *,
    options: Options | None = None,
    progress: ShowProgress | None = None,
    command: str = "",
) -> Comparison:
    """Make a model smaller with every tool that is installed, and measure what that costs.

    Args:
        source: the model.
        options: those of onnxzip; data, metric and tolerance count for all tools.
        progress: called with the stage and the fraction done, 0 ... 1.
        command: what the comparison says that repeats it.

    Raises:
        InputError: the model or the calibration data cannot be used.
        UsageError: a setting has no meaning here.
    """
    options, show = options or Options(), rising(progress or show_nothing)
    if options.target_size is not None:
        raise UsageError("`target_size` has no meaning for a comparison; tools are held to `tolerance`")
    started = time.perf_counter()
    with temporary_folder() as folder:
        show("reading", 0.0)
        original = graph.read_model(source)
        made = [_compress(source, folder, options, part(show, 0.0, _OWN_SHARE))]
        show("running the original", _OWN_SHARE)
        subject, _ = examine(original, replace(options, providers=("CPU",)), fits=True)
        bench = Bench(source, original, subject, folder)
        made += bench.try_all(part(show, _OWN_SHARE, _TOOLS_SHARE))
        plain = (ComparedTool("plain file", n_bytes=original.n_bytes), source.absolute())
        lines = list(bench.measure_all([plain, *made], part(show, _TOOLS_SHARE, 1.0)))
    show("done", 1.0)
    return Comparison(
        schema=SCHEMA,
        source=original.source,
        source_sha256=original.digest,
        bytes_before=original.n_bytes,
        metric=subject.metric.name,
        inputs=_inputs_of(subject),
        plain=lines[0],
        tools=tuple(sorted(lines[1:], key=lambda line: -(line.n_bytes or 0))),
        unproven=tuple(subject.doubts),
        warnings=tuple(subject.findings),
        settings=options.described(),
        versions=_versions(),
        seconds=time.perf_counter() - started,
        command=command,
    )


def _compress(
    source: Path, folder: Path, options: Options, show: ShowProgress
) -> tuple[ComparedTool, Path | None]:
    """Return onnxzip's own line, and its model."""
    line, output = ComparedTool(OWN_NAME, setting=f"level {options.level}"), folder / "onnxzip.onnx"
    started = time.perf_counter()
    try:
        result = pipeline.compress(source, output, options=options, progress=show)
    except (ToleranceError, VerificationError) as error:
        seconds = time.perf_counter() - started
        return replace(line, problem=f"failed: {reason_of(error)}", seconds=seconds), None
    n_bytes, seconds = result.report.bytes_after, time.perf_counter() - started
    return replace(line, n_bytes=n_bytes, seconds=seconds), output


def _inputs_of(subject: Subject) -> str:
    """Say what losses are measured on."""
    sets = [sample.feeds for sample in subject.samples]
    n_samples = f"{sum(feeds.n_samples for feeds in sets):,} samples"
    if subject.is_generated:
        families = ", ".join(feeds.family for feeds in sets if feeds.family)
        return f"{n_samples} that onnxzip made up{f': {families}' if families else ''}"
    return f"{n_samples}: {sets[0].note or 'the calibration data'}"


def _versions() -> Mapping[str, str]:
    """Return the versions of all packages that take part and are installed."""
    needed = sorted({package for tool in tools().values() for package in tool.needs})
    found = {}
    for package in ("onnxzip", "onnx", "onnxruntime", "numpy", *needed):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
