"""What a written report says, section by section, before it is given a format."""

from __future__ import annotations

from collections.abc import Sequence

from onnxzip.records.check import Check
from onnxzip.records.costs.latency import Speed
from onnxzip.report.comparison.record import Comparison
from onnxzip.report.comparison.sections import comparison_sections, comparison_title
from onnxzip.report.numbers import (
    format_duration,
    format_limit,
    format_loss,
    format_memory,
    format_metric_name,
    format_ratio,
)
from onnxzip.report.plots.figures import (
    drift_of,
    output_plot,
    sample_plot,
    sensitivity_plot,
    trial_plot,
    weight_plot,
)
from onnxzip.report.plots.latency import latency_plot
from onnxzip.report.plots.samples import example_blocks
from onnxzip.report.record import Report, Reported
from onnxzip.report.section import Block, Section
from onnxzip.report.tables.latency import format_share, latency_points, latency_table, speed_line
from onnxzip.report.tables.losses import (
    family_table,
    loss_table,
    opinion_lines,
    output_table,
    sensitivity_table,
)
from onnxzip.report.tables.recalled import recalled_table
from onnxzip.report.tables.trials import trial_table
from onnxzip.report.tables.verdicts import (
    check_table,
    notes,
    summary_table,
    unproven_reasons,
    verdict_table,
)
from onnxzip.report.tables.weights import layer_table, rewrite_table, single_skip_table, skip_table

_TRIED = (
    "What the search tried: weights as planned, then with weights and biases fitted again, then the "
    "file. Bytes of what was not made are estimates."
)
_REFUSED = "nothing was written: no smaller file that was found meets the tolerance; this is the nearest"
_SIZED = "Files that the search made, for their sizes."


def title_of(report: Reported) -> str:
    """Return e.g. "resnet20.onnx: 7.19x smaller", "small.onnx, tested"."""
    if isinstance(report, Comparison):
        return comparison_title(report)
    if report.task == "test":
        return f"{report.source}, tested"
    smaller = f"{report.source}: {format_ratio(report.bytes_before, report.bytes_after)} smaller"
    if report.speed is None or not report.speed.is_faster:
        return smaller
    ratio = report.speed.ratio
    return f"{smaller}, runs in {format_share(ratio.value, ratio)} of the time"


def sections(report: Reported) -> list[Section]:
    """Return the sections that have something to say, what a reader must not miss first."""
    if isinstance(report, Comparison):
        return comparison_sections(report)
    every = (
        *_verdict_sections(report),
        *_speed_sections(report.speed),
        *_result_sections(report),
        *_loss_sections(report),
        *_detail_sections(report),
    )
    return [section for section in every if not section.is_empty]


def _verdict_sections(report: Report) -> tuple[Section, ...]:
    checks, doubts = report.checks, _doubts(report)
    title = "Warnings and evidence" if doubts else "Evidence"
    others = [check for check in checks if check.kind != "drift"]  # whose notes are evidence
    told = (*opinion_lines(checks), *notes(others, verbose=True))
    return (
        Section(title, points=(*doubts, *_evidence(checks)), has_doubts=bool(doubts)),
        Section("Verdict", verdict_table(checks), told),
        Section("Summary", summary_table(report), _load_facts(report), is_tiles=True),
    )


def _speed_sections(speed: Speed | None) -> tuple[Section, ...]:
    if speed is None:
        return ()
    line, plots = speed_line(speed), (latency_plot(speed),)
    lead = f"{line[0].upper()}{line[1:]}."
    return (Section("Latency", latency_table(speed), latency_points(speed), lead, plots),)


def _result_sections(report: Report) -> tuple[Section, ...]:
    trials = trial_table(report.trials, drift_of(report.checks))
    is_sized = any(trial.stage == "sized" for trial in report.trials)
    lead = (_SIZED if is_sized else _TRIED) if trials.rows else ""
    return (
        Section("Loss against bytes", trials, lead=lead, plots=trial_plot(report)),
        Section("Weights", layer_table(report), plots=weight_plot(report)),
    )


def _loss_sections(report: Report) -> tuple[Section, ...]:
    checks, drift = report.checks, drift_of(report.checks)
    sensitivities = report.sensitivities
    is_own = drift is not None and drift.seed is None
    what = "the calibration data" if is_own else "the generated inputs"
    lead = f"This report holds {len(report.examples)} samples of {what}." if report.examples else ""
    return (
        Section("Loss", loss_table(checks), lead=_stated(drift), plots=sample_plot(checks)),
        Section("Loss by output", output_table(checks), plots=output_plot(checks)),
        Section("Loss by kind of inputs", family_table(checks)),
        Section(
            "Sensitivities", sensitivity_table(sensitivities), plots=sensitivity_plot(sensitivities)
        ),
        Section("Examples", lead=lead, blocks=example_blocks(report.examples, drift)),
    )


def _stated(check: Check | None) -> str:
    """Return the loss that the verdict is on, and how sure it is; "" where that is not known."""
    if check is None or check.interval is None:
        return ""
    low, high = (format_loss(check, end) for end in check.interval)
    told = f"{format_metric_name(check.metric)} {format_loss(check, check.value)}"
    return f"{told}, 95 % interval {low} to {high}; the limit is {format_limit(check)}."


def _detail_sections(report: Report) -> tuple[Section, ...]:
    hashes = {"input SHA-256": report.source_sha256, "output SHA-256": report.output_sha256}
    made_with = {**report.settings, **report.versions, **hashes}
    grouped, single = skip_table(report.skips), single_skip_table(report.skips)
    is_more = len(single.rows) > len(grouped.rows)
    return (
        Section("Checks", check_table(report.checks)),
        Section("Rewrites", rewrite_table(report.rewrites)),
        Section(
            "Refusals",
            grouped,
            blocks=(Block("Each refusal", table=single, is_folded=True),) if is_more else (),
        ),
        Section("From the cache", recalled_table(report.recalled)),
        Section(
            "Made with",
            points=tuple(f"{name}: {value}" for name, value in made_with.items() if value != ""),
        ),
        Section("Repeat it", code=report.command),
        Section("Its options, as a file for --config", code=report.config),
    )


def _doubts(report: Report) -> tuple[str, ...]:
    """Return why the verdict may not hold: what is not proven, then what is odd about the inputs."""
    is_unwritten = report.task == "compress" and not report.output_sha256
    is_refused = is_unwritten and any(check.failed for check in report.checks)
    refused = (_REFUSED,) if is_refused else ()
    unproven = (f"not proven: {reason}" for reason in unproven_reasons(report.checks))
    return (*refused, *unproven, *(f"warning: {finding.text}" for finding in report.warnings))


def _evidence(checks: Sequence[Check]) -> tuple[str, ...]:
    """Return what the verdict rests on."""
    drifts = [check for check in checks if check.kind == "drift"]
    if not drifts:
        return ()
    n_samples, seed = drifts[0].n_samples, drifts[0].seed
    made_up = "" if seed is None else f" that onnxzip made up (seed {seed}), a guess at real inputs"
    rests = f"the verdict rests on {n_samples:,} sample{'s' * (n_samples != 1)}{made_up}"
    return (rests, *dict.fromkeys(check.note for check in drifts if check.note))


def _load_facts(report: Report) -> tuple[str, ...]:
    """Return what loading the file takes and what the run took, counted or measured."""
    facts = []
    if report.load_bytes is not None:
        memory = format_memory(report.load_bytes) if report.load_bytes else "nothing"
        facts.append(
            f"load memory: decoding adds {memory} while a session is created (counted in the file; a "
            "plain one has nothing to decode)"
        )
    seconds = report.load_seconds
    if seconds is not None:
        times = f"{format_duration(seconds.before)} before, {format_duration(seconds.after)} after"
        facts.append(f"session creation: {times} (measured here, on the CPU)")
    if report.peak_memory is not None:
        held = format_memory(report.peak_memory)
        facts.append(f"memory: this run held at most {held} (measured, beside pages of files)")

    return tuple(facts)
