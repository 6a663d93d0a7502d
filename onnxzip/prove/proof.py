"""Proves a compressed model: it folds to the original, computes what it should, loses what it may.

Two kinds of checks are never mixed: exact ones prove the surgery, drift checks measure the loss. Memory
decides their order: a session on a compressed model takes several times the model while it decodes, so
that the outputs of the plain reference are collected first and its weights dropped.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

from onnxzip.graph import Model, release_pages
from onnxzip.measure.subject import Subject
from onnxzip.prove.drift import measure_drift
from onnxzip.prove.exact import expect, prove_exact
from onnxzip.prove.opinion import second_opinion
from onnxzip.prove.structure import float_kernels, growing_nodes
from onnxzip.records.check import Check
from onnxzip.records.finding import Finding
from onnxzip.records.plan import Plan
from onnxzip.rewrite.emit import Emitted
from onnxzip.rewrite.restorer import Restorer
from onnxzip.runtime.memory.watch import MemoryWatch
from onnxzip.runtime.own_fault import own_fault

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Proof:
    """What was found of an emitted model.

    Attributes:
        checks: only drift checks where one of these fails.
        findings: what is odd about it.
        standing: what answers for it, see `Expectation`.
        is_whole: whether that is itself: one session may decode all of its weights.
    """

    checks: tuple[Check, ...]
    findings: tuple[Finding, ...]
    standing: Model
    is_whole: bool

    @property
    def passed(self) -> bool:
        """Whether the model may be written."""
        return not any(check.failed for check in self.checks)


def prove(
    original: Model,
    folded: Model,
    emitted: Emitted,
    plan: Plan,
    restorer: Restorer,
    subject: Subject,
    *,
    unproven: Sequence[str] = (),
    is_last: bool = False,
    watch: MemoryWatch | None = None,
) -> Proof:
    """Check an emitted model on every provider.

    Args:
        original: the model as it was read.
        folded: the same after structural passes, with the plan's values of small tensors.
        emitted: the compressed model.
        plan: what it was made from.
        restorer: restores the plan's weights with numpy; forgets its payloads.
        subject: what the original answers, and where to check.
        unproven: what the outputs say nothing about.
        is_last: whether no other plan follows where this one loses too much: it is checked all the same.
        watch: knows what memory is left.

    Raises:
        VerificationError: the emitted model fails, or does not compute what the plan says.
    """
    findings = float_kernels(folded, subject.custom_ops)
    expected = expect(
        *(folded, emitted, plan, restorer, subject), n_free=None if watch is None else watch.n_free
    )
    release_pages(original.arrays.values())
    standing = expected.standing
    with own_fault(original.source):  # what it is compared with has run on every provider by now
        drifts = tuple(measure_drift(standing, original, subject, unproven))
        is_within = not any(check.failed for check in drifts)
        exact = prove_exact(expected, subject) if is_within or is_last else ()
        opinion = second_opinion(standing, subject) if is_within else None
    findings += growing_nodes(emitted.model, emitted.n_nodes)
    checks = (*exact, *drifts)
    if opinion is not None:
        checks, findings = (*checks, opinion.check), (*findings, *opinion.findings)
    for check in checks:
        verdict = "passed" if check.passed else "failed" if check.failed else "not proven"
        _log.info(
            *("%s check on %s: %s %.3g, limit %.3g, %s", check.kind, check.provider),
            *(check.metric, check.value, check.limit, verdict),
        )
    return Proof(checks, findings, standing, not expected.how)
