"""Ladders of candidates: which forms are asked for, and the rates between two that were measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise

from onnxzip.records.aliases import Form
from onnxzip.records.plan import Candidate

Ladders = Mapping[str, Sequence[Candidate]]


def forms_for(objective: str) -> tuple[Form, ...]:
    """Return the forms that passes should offer: "size" stores, "speed" also computes."""
    return ("stored", "computed") if objective == "speed" else ("stored",)


def with_midpoints(ladder: Sequence[Candidate]) -> list[Candidate]:
    """Return a ladder with a candidate halfway between any two that differ in the rate alone.

    On a curve of bytes over rate and of error over rate the geometric mean is near the middle. Plans are
    tried on the whole model, so that an estimate need not be exact; `proposal.measured` makes it so.
    """
    curves: dict[tuple[object, ...], list[Candidate]] = {}
    for candidate in ladder:
        others = tuple(sorted((k, v) for k, v in candidate.settings.items() if k != "rate"))
        if "rate" in candidate.settings and candidate.error > 0:
            curves.setdefault((candidate.pass_name, candidate.form, others), []).append(candidate)
    middles: list[Candidate] = []
    for curve in curves.values():
        curve.sort(key=lambda c: float(c.settings["rate"]))
        for low, high in pairwise(curve):
            if low.n_bytes < high.n_bytes and low.error > high.error and low.macs == high.macs:
                rate = (float(low.settings["rate"]) * float(high.settings["rate"])) ** 0.5
                settings = {**low.settings, "rate": float(f"{rate:.3g}")}
                n_bytes = int((low.n_bytes * high.n_bytes) ** 0.5)
                error = (low.error * high.error) ** 0.5
                middle = replace(low, settings=settings, n_bytes=n_bytes, error=error, encoded=None)
                middles.append(replace(middle, is_estimate=True))
    return [*ladder, *middles]
