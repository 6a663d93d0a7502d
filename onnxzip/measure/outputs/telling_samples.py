"""Which samples tell anything about a model, and which outputs tell nothing on any of them."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from onnxzip import graph
from onnxzip.graph import Model
from onnxzip.measure.outputs.evidence import is_quiet, why_no_evidence
from onnxzip.measure.subject import Sample


def find_evidence(original: Model, samples: Sequence[Sample]) -> tuple[list[int], dict[str, str]]:
    """Return which samples tell anything, all where none does, and why outputs tell nothing on any.

    An output that depends on no value of an input (a table of anchors) tells nothing by nature, and is
    not asked; nor are integers that no weight is behind (lengths): no file can lose them.
    """
    asked, squashed = graph.varying_outputs(original), graph.squashed_outputs(original)
    kinds = {name: found.kind for name, found in samples[0].statistics.items()}
    asked -= {n for n in asked if kinds.get(n) != "f" and not graph.weights_behind(original, [n])}
    reasons = [
        {
            name: why
            for name, found in sample.statistics.items()
            if name in asked and (why := why_no_evidence(found, is_squashed=name in squashed))
        }
        for sample in samples
    ]
    telling = [
        i
        for i, silent in enumerate(reasons)
        if asked.intersection(samples[i].statistics) - silent.keys()
    ]
    unproven = {name: why for name, why in reasons[0].items() if all(name in r for r in reasons)}
    return _lively(samples, asked, telling) or list(range(len(samples))), unproven


def _lively(samples: Sequence[Sample], asked: Collection[str], telling: Sequence[int]) -> list[int]:
    """Leave out the families on which scores stay near 0 or 1, though they move on the likeliest one.

    What is left out is noise, or a scaling that is not the model's.
    """
    if not telling:
        return []
    likeliest = samples[telling[0]].statistics
    return [
        i
        for i in telling
        if not any(
            is_quiet(found, likeliest[name])
            for name, found in samples[i].statistics.items()
            if name in asked
        )
    ]
