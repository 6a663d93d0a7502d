"""Proves a compressed model: it folds to the original, computes what it should, loses what it may.

Two kinds of checks are never mixed: exact ones prove the surgery, drift checks measure the loss. Memory
decides their order: a session on a compressed model takes several times the model while it decodes, so
that the outputs of the plain reference are collected first and its weights dropped.
"""

from __future__ import annotations

from dataclasses import dataclass

from onnxzip.graph import Model, release_pages
from onnxzip.measure.subject import Subject
from onnxzip.prove.drift import measure_drift
from onnxzip.prove.exact import expect, prove_exact
from onnxzip.records.check import Check
from onnxzip.records.plan import Plan
from onnxzip.rewrite.emit import Emitted
from onnxzip.rewrite.restorer import Restorer


@dataclass(frozen=True)
class Proof:
    """The checks of an emitted model; only drift checks where one of these fails."""

    checks: tuple[Check, ...]

    @property
    def passed(self) -> bool:
        """Whether the model may be written."""
        return all(check.passed for check in self.checks)


def prove(
    original: Model, folded: Model, emitted: Emitted, plan: Plan, restorer: Restorer, subject: Subject
) -> Proof:
    """Check an emitted model on every provider.

    Args:
        original: the model as it was read.
        folded: the same after structural passes, with the plan's values of small tensors.
        emitted: the compressed model.
        plan: what it was made from.
        restorer: restores the plan's weights with numpy; forgets its payloads.
        subject: what the original answers, and where to check.

    Raises:
        VerificationError: the emitted model does not compute what the plan says.
    """
    expected = expect(folded, emitted, plan, restorer, subject)
    release_pages(original.arrays.values())
    drifts = tuple(measure_drift(emitted.model, original, subject))
    if not all(check.passed for check in drifts):
        return Proof(drifts)
    return Proof((*prove_exact(expected, emitted.model, subject), *drifts))
