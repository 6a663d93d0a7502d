"""A second opinion: what the emitted graph loses on inputs of our own, beside the user's verdict."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from onnxzip.graph import Model, loadable
from onnxzip.measure.metrics.nrmse import Nrmse
from onnxzip.measure.outputs.recorded_outputs import run_all
from onnxzip.measure.subject import Sample, Subject
from onnxzip.prove.drift import check_drift, worst_of
from onnxzip.records.check import Check
from onnxzip.records.finding import Finding
from onnxzip.runtime.session import Session, open_session

_FAR = 3.0
"""Ratio to the loss on the user's data from which on it is told: data of one kind are fitted to as such,
and what is lost elsewhere is larger. A guess."""

_LEAST = 0.1
"""What the default limit allows anyway is no warning."""


@dataclass(frozen=True)
class Opinion:
    """What was found on other inputs, and the warning it may be worth."""

    check: Check
    findings: tuple[Finding, ...]


def second_opinion(emitted: Model, subject: Subject) -> Opinion | None:
    """Measure what the emitted graph loses on inputs of ours, as nrmse; None where there are none.

    Args:
        emitted: the compressed model.
        subject: has the inputs.
    """
    if not subject.opinions or "CPU" not in subject.providers:
        return None
    with open_session(loadable(emitted), custom_ops=subject.custom_ops) as session:
        checks = [
            check_drift(s.reference, session, s.feeds, s.metric, s.statistics) for s in subject.opinions
        ]
        usual = max(_nrmse(session, sample) for sample in subject.samples)
    check = replace(worst_of(checks, subject.opinions), kind="opinion")
    if not check.value > max(_FAR * usual, _LEAST):
        return Opinion(check, ())
    text = (
        f"on inputs of our own it loses {check.value:.3g} (nrmse), on yours {usual:.3g}: are yours "
        "as varied as those it will meet, and scaled as it expects?"
    )
    return Opinion(check, (Finding("second opinion", text),))


def _nrmse(session: Session, sample: Sample) -> float:
    metric = Nrmse(math.inf).prepared(sample.statistics)
    return metric.measure(sample.reference, run_all(session, sample.feeds), sample.feeds.sizes).value
