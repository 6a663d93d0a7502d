"""From a draft to a model that is proved, again with less coding where loading takes too much."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace

from onnxzip import graph
from onnxzip.choose.chooser import Chooser
from onnxzip.graph import Model, Origin
from onnxzip.measure.subject import Subject, judgement_of
from onnxzip.options import Options
from onnxzip.propose.acceleration import Accelerated
from onnxzip.propose.proposal import Proposal, propose
from onnxzip.propose.working.means import Means
from onnxzip.prove.proof import Proof, prove
from onnxzip.records.plan import Plan
from onnxzip.records.progress import ShowProgress, at
from onnxzip.rewrite.emit import Emitted, Emitter
from onnxzip.rewrite.restorer import Restorer
from onnxzip.runtime.memory.watch import MemoryWatch

_log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Attempt:
    """A model as it may be written, and how it came to be."""

    proposal: Proposal
    chooser: Chooser
    plan: Plan
    emitted: Emitted
    proof: Proof

    @property
    def load_bytes(self) -> int:
        """What decoding adds while a session is created."""
        return sum(graph.load_bytes(self.emitted.model, self.emitted.n_nodes).values())


_MAX_ATTEMPTS = 4
"""At a file within `load_memory`; in the last one nothing is entropy coded."""

_LEAST = 1
"""A `load_memory` with which nothing is coded."""

_STEP = 0.95
"""Ratio of two allowances that are looked at for weights to code; looking takes no time."""


def attempt_within(
    original: Model,
    source: Accelerated,
    subject: Subject,
    options: Options,
    show: ShowProgress,
    means: Means,
) -> Attempt:
    """Propose, choose, emit and prove; entropy code less where decoding takes more than is allowed.

    What a weight takes is known about, not exactly, before the plan is emitted.
    """
    allowed = options.load_memory
    if allowed is None:
        return _attempt(original, source, subject, options, show, means)
    allowance = allowed
    for n_left in reversed(range(_MAX_ATTEMPTS)):
        allowing = replace(options, load_memory=allowance)
        made = _attempt(original, source, subject, allowing, show, means)
        n_excess = made.load_bytes - allowed
        if n_excess <= 0 or allowance == _LEAST:
            break
        _log.info("decoding takes %d bytes more than is allowed: less is coded", n_excess)
        allowance = _less(made.proposal, allowance, 2 * n_excess) if n_left > 1 else _LEAST
    return made


def _less(proposal: Proposal, allowance: int, n_bytes: int) -> int:
    """Return an allowance that is less by some bytes, and by enough that other weights are coded."""

    def coded(allowance: int) -> set[str]:
        codecs = proposal.level.codecs(proposal.layers, allowance)
        return {name for name, codec in codecs.items() if codec.is_continuous}

    before, allowance = coded(allowance), max(allowance - n_bytes, _LEAST)
    while allowance > _LEAST and coded(allowance) == before:
        allowance = max(int(_STEP * allowance), _LEAST)
    return allowance


def _attempt(
    original: Model,
    source: Accelerated,
    subject: Subject,
    options: Options,
    show: ShowProgress,
    means: Means,
) -> Attempt:
    """Propose, choose, emit and prove."""
    proposal = propose(source.settled, subject, options, show, means)
    restorer = Restorer(proposal.passes, proposal.codecs)
    chooser = Chooser(proposal, subject, options, restorer, show, means.cache)
    made_from = Origin(graph.weights_checksum(original), (*subject.doubts, *chooser.doubts))
    emitter = _emitter(proposal, source, subject, options, restorer, made_from)
    plan = _first_plan(chooser, emitter, options)
    plan, emitted, proof = _proven(
        original, plan, chooser, emitter, restorer, subject, show, means.watch
    )
    return Attempt(proposal, chooser, plan, emitted, proof)


def _emitter(
    proposal: Proposal,
    source: Accelerated,
    subject: Subject,
    options: Options,
    restorer: Restorer,
    made_from: Origin,
) -> Emitter:
    keeps_names = options.keep_names or not proposal.level.renames
    judged = judgement_of(subject)
    emit_stored = proposal.level.emit
    return Emitter(
        *(proposal.model, proposal.passes, restorer, emit_stored, keeps_names, judged, made_from),
        land=source.landed,
    )


def _proven(
    original: Model,
    plan: Plan,
    chooser: Chooser,
    emitter: Emitter,
    restorer: Restorer,
    subject: Subject,
    show: ShowProgress,
    watch: MemoryWatch | None,
) -> tuple[Plan, Emitted, Proof]:
    """Emit and check a plan, then tighter ones until one passes; one that was refused is the last."""
    while True:
        show("rewriting", at("rewriting"))
        emitted = emitter.emit(plan)
        show("checking", at("checking"))
        settled, is_last = emitter.settled(plan), bool(chooser.refused)
        proof = prove(
            *(original, settled, emitted, plan, restorer, subject),
            unproven=chooser.doubts,
            is_last=is_last,
            watch=watch,
        )
        if proof.passed or is_last:
            return plan, emitted, proof
        plan = chooser.tighter(plan, proof.checks)


def _first_plan(chooser: Chooser, emitter: Emitter, options: Options) -> Plan:
    if options.target_size is None:
        return chooser.plan_to_loss()
    return chooser.plan_to_size(
        options.target_size, lambda plan: graph.n_bytes_of(emitter.emit(chooser.settle(plan)).model)
    )
