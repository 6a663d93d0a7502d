"""compress(): read -> measure -> propose -> choose -> rewrite -> prove -> write, and nothing else."""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeAlias

from threadpoolctl import threadpool_limits

from onnxzip import graph
from onnxzip.choose.attempt import attempt_within
from onnxzip.choose.refusals import why_not_faster
from onnxzip.choose.trial_log import TrialLog
from onnxzip.disk.cache.store import check_outside
from onnxzip.errors import ToleranceError, UsageError
from onnxzip.graph import Model, ModelLike
from onnxzip.measure.examination import examine, metric_of
from onnxzip.measure.subject import Subject
from onnxzip.options import Options, Result, to_toml
from onnxzip.propose.acceleration import accelerate
from onnxzip.propose.proposal import Proposal, draft_offered
from onnxzip.propose.registry import make_passes
from onnxzip.propose.working.means import Means, means_for
from onnxzip.prove.demonstration import Demonstration, demonstrate
from onnxzip.prove.proof import Proof
from onnxzip.records.costs.latency import Speed
from onnxzip.records.finding import Finding
from onnxzip.records.plan import Plan, Skip
from onnxzip.records.progress import ShowProgress, at, rising, show_nothing
from onnxzip.report.assembly import assemble, with_load_bytes
from onnxzip.report.record import LayerSensitivity, Report
from onnxzip.rewrite.emit import Emitted
from onnxzip.runtime.memory.watch import watched
from onnxzip.runtime.own_path import load_by_path, n_loaded_bytes
from onnxzip.trust.delivery import check_no_signature
from onnxzip.trust.papers import Papers

_log = logging.getLogger(__name__)

Approve: TypeAlias = Callable[[Report], None]


def compress(
    source: ModelLike,
    output: str | Path | None = None,
    *,
    options: Options | None = None,
    progress: ShowProgress | None = None,
    approve: Approve | None = None,
    beside: Sequence[Path] = (),
    papers: Papers | None = None,
    command: str = "",
    give_up: Callable[[], object] | None = None,
) -> Result:
    """Compress a model within the loss allowed, prove it, and write it.

    Args:
        source: path, serialised model, or ModelProto (which is not changed).
        output: where to write; None only returns the model.
        options: what is allowed and wanted.
        progress: called with the stage and the fraction done, 0 ... 1.
        approve: called with the report when the model is complete but not in place yet; when it
            raises, nothing is written.
        beside: other files that the caller writes; they must not be read.
        papers: what is written with the model, in a place that the caller gives it; seals the model.
        command: what repeats it, for the report.
        give_up: ends the process, see `watched`; None where it is the caller's.

    Raises:
        InputError: the model, the calibration data or a provider cannot be used.
        ToleranceError: no smaller file stays within the tolerance.
        VerificationError: the compressed graph fails its exact check.
        OutputError: the output cannot be written; it is as it was.
    """
    started = time.perf_counter()
    options, show = options or Options(), rising(progress or show_nothing)
    with threadpool_limits(1), watched(options.max_memory, give_up) as watch, ExitStack() as stack:
        show("reading", at("reading"))  # with several threads BLAS would add up in another order
        original, place = _open(source, output, options, beside, papers)
        means = stack.enter_context(means_for(original, options, watch))
        show("folding", at("folding"))
        draft = draft_offered(original, options)
        show("running the original", at("running the original"))
        subject, unusable = examine(original, options, fits=True)
        show("checking what was folded", at("checking what was folded"))
        aimed = _aimed(options, papers)
        faster = accelerate(draft, subject, aimed, show)
        made = attempt_within(original, faster, subject, aimed, faster.behind(show), means)
        chooser, plan, emitted, proof = made.chooser, made.plan, made.emitted, made.proof
        shown = demonstrate(original, proof.standing, subject, proof.checks, is_file=proof.is_whole)
        speed = faster.compare(original, emitted.model)
        show("writing", at("writing"))
        skips = (*made.proposal.skips, *chooser.skips(plan), *unusable)
        found = _Found(
            *(original, made.proposal, plan, emitted, proof, skips, chooser.sensitivities, chooser.log),
            *(shown, subject, chooser.findings, options, command, started, speed, means),
        )
        if (reason := chooser.refused or found.why_not_faster) and not options.best_effort:
            raise found.refusal(reason)
        result = _write(emitted.model, place, found, approve or (lambda report: None), papers)
    show("done", 1.0)
    return result


@dataclass(frozen=True, eq=False)
class _Found:
    """All that the report of a compressed model tells, but for its file."""

    original: Model
    proposal: Proposal
    plan: Plan
    emitted: Emitted
    proof: Proof
    skips: tuple[Skip, ...]
    sensitivities: tuple[LayerSensitivity, ...]
    log: TrialLog
    shown: Demonstration
    subject: Subject
    findings: Sequence[Finding]
    options: Options
    command: str
    started: float
    speed: Speed | None
    means: Means

    @property
    def why_not_faster(self) -> str:
        """Why the model is no faster where that was asked for; "" where it is, or was not."""
        if self.speed is None or self.speed.is_faster:
            return ""
        return why_not_faster(self.original.source, self.speed)

    @property
    def _slower(self) -> tuple[Finding, ...]:
        """A warning of a model that is written although it is no faster."""
        reason = self.why_not_faster
        found = Finding("not faster", reason.removeprefix(f"{self.original.source}: "))
        return (found,) if reason else ()

    @property
    def _own_findings(self) -> Sequence[Finding]:
        """What inputs leave open, and what is to be said of how it was worked out."""
        return (*self.findings, *self.means.findings)

    def refusal(self, reason: str) -> ToleranceError:
        """Return the error for a model that is not written, with the report on it if it is smaller."""
        error, n_bytes = ToleranceError(reason), graph.n_bytes_of(self.emitted.model)
        if n_bytes < self.original.n_bytes:
            error.report = self.report(n_bytes, "")
        return error

    def report(self, n_bytes: int, digest: str) -> Report:
        """Return the report on a file of so many bytes with this SHA-256.

        Raises:
            ToleranceError: the file is not smaller than the original.
        """
        _check_smaller(self.original, n_bytes)
        for skip in self.skips:
            _log.debug("%s left %s: %s", skip.pass_name, skip.layer, skip.reason)
        report = assemble(
            source=self.original.source,
            digests=(self.original.digest, digest),
            n_bytes=(self.original.n_bytes, n_bytes),
            plan=self.plan,
            sizes=self.emitted.sizes,
            n_small_bytes=self.emitted.n_small_bytes(self.plan),
            rewrites=self.proposal.rewrites,
            skips=self.skips,
            checks=self.proof.checks,
            warnings=(*self.subject.findings, *self._own_findings, *self.proof.findings, *self._slower),
            sensitivities=self.sensitivities,
            trials=self.log.finished(self.plan, n_bytes),
            seconds=time.perf_counter() - self.started,
            settings=self.options.described(),
        )
        load_bytes = graph.load_bytes(self.emitted.model, self.emitted.n_nodes)
        n_allowed, n_needed = self.options.load_memory, sum(load_bytes.values())
        if n_allowed is not None and n_needed > n_allowed:
            raise ToleranceError(
                f"{self.original.source}: decoding adds {n_needed} bytes while a session is created, "
                f"where nothing is entropy coded, more than `load_memory` {n_allowed}; allow more"
            )
        of_layers = {name: load_bytes[self.emitted.homes[name]] for name in self.plan.chosen}
        report = with_load_bytes(report, of_layers, n_needed)
        cache, peak = self.means.cache, self.means.watch.peak or None
        report = replace(report, speed=self.speed, recalled=cache.recalled, peak_memory=peak)
        return self.shown.added_to(report, self.command, to_toml(self.options))


def _open(
    source: ModelLike,
    output: str | Path | None,
    options: Options,
    beside: Sequence[Path],
    papers: Papers | None,
) -> tuple[Model, Path | None]:
    """Return the model, and where to write; refuse what must not be, before any work is done."""
    original = _read(source, options)
    return original, _place(output, original, options, beside, papers)


def _read(source: ModelLike, options: Options) -> Model:
    """Read the model, when all that was named exists, and refuse a size that it has already."""
    _check_names(options)
    original = graph.read_model(source)
    if options.freeze_inputs:
        graph.freeze_inputs(original.proto)
    _log.info("read %s: %d bytes, opset %d", original.source, original.n_bytes, original.opset)
    if options.target_size is not None and options.target_size >= original.n_bytes:
        raise UsageError(
            f"`target_size` {options.target_size}: {original.source} has {original.n_bytes} bytes; "
            "ask for fewer"
        )
    return original


def _check_names(options: Options) -> None:
    """Refuse passes, their settings and metrics that do not exist, before any work is done."""
    make_passes(options)
    metric_of(options)


def _check_smaller(original: Model, n_bytes: int) -> None:
    """Refuse a file that is not smaller."""
    if n_bytes >= original.n_bytes:
        raise ToleranceError(
            f"{original.source}: the compressed model would take {n_bytes} bytes, the original has "
            f"{original.n_bytes}; use that as it is"
        )


def _place(
    output: str | Path | None,
    original: Model,
    options: Options,
    beside: Sequence[Path],
    papers: Papers | None,
) -> Path | None:
    """Return where to write; refuse what must not be written over, before any work is done."""
    for other in beside:
        graph.check_unread(other, original, options.files)
    if options.cache is not None:
        check_outside(options.cache, (*beside, *(() if output is None else (output,))))
    if papers is not None:
        papers.check(original, options.overwrite, options.files)
    if output is None:
        return None
    if papers is None or not papers.has_signature:
        check_no_signature(Path(output))
    return graph.check_output(Path(output), options.overwrite, original, options.files)


def _aimed(options: Options, papers: Papers | None) -> Options:
    """Return the options to search with: a seal takes its share of the size that is asked for."""
    if papers is None or options.target_size is None:
        return options
    n_left = options.target_size - papers.n_added_bytes(options.target_size)
    return replace(options, target_size=max(n_left, 1))


def _write(
    model: Model, place: Path | None, found: _Found, approve: Approve, papers: Papers | None
) -> Result:
    """Write the model, or only return it."""
    reports: list[Report] = []

    def finish(n_bytes: int, digest: str, data: Path | None) -> None:
        found.means.watch.stop_ending()
        report = found.report(n_bytes, digest)
        if papers is not None:
            report = replace(report, settings={**report.settings, **papers.described()})
        reports.append(report)
        approve(report)
        if papers is not None:
            papers.write(report, data)

    def check(path: Path) -> None:
        n_decoded = sum(graph.load_bytes(model, found.emitted.n_nodes).values())
        has_room = found.means.watch.has_room(n_loaded_bytes(n_decoded, found.original.n_bytes))
        is_whole = found.proof.is_whole and has_room
        load_by_path(path, str(place), found.options.custom_ops, packs=is_whole, folds=is_whole)

    proto = graph.to_proto(model) if graph.inline_bytes(model) <= graph.MAX_INLINE_BYTES else None
    if place is not None:
        write = graph.write_model if papers is None else papers.write_model
        kept, overwrite = found.original.files, found.options.overwrite
        write(model, place, finish, overwrite=overwrite, check=check, kept=kept)
    elif proto is not None:
        data = proto.SerializeToString(deterministic=True)
        finish(len(data), hashlib.sha256(data).hexdigest(), None)
    else:
        finish(graph.inline_bytes(model), "", None)
    return Result(proto, reports[0])
