"""Structural changes before any weight is touched, undone where they change what the model answers."""

from __future__ import annotations

from collections.abc import Sequence

from onnxzip.errors import ModelError
from onnxzip.graph import Model, loadable, raise_opset
from onnxzip.measure.metrics.rel_l2 import exact_deviation
from onnxzip.measure.outputs.recorded_outputs import run_all
from onnxzip.measure.subject import Subject
from onnxzip.passbase import GraphPass
from onnxzip.prove.exact import EXACT_LIMIT
from onnxzip.records.plan import Rewrite, Skip
from onnxzip.rewrite.prepare import fold_structure
from onnxzip.runtime.session import open_session


def raise_old_opset(original: Model, subject: Subject) -> tuple[Model, list[Rewrite]]:
    """Raise an opset below 11, and demand that the outputs stay what they were."""
    model = raise_opset(original)
    if model is original:
        return model, []
    deviation = _deviation(model, subject)
    if deviation > EXACT_LIMIT:
        raise ModelError(
            f"{original.source}: raising opset {original.opset} to {model.opset} changes the outputs by "
            f"{deviation:.2g}; export at opset 11 or above"
        )
    description = f"raised from {original.opset} to {model.opset}, outputs within {deviation:.1g}"
    return model, [Rewrite("opset", "ai.onnx", description)]


def fold_exactly(
    model: Model, passes: Sequence[GraphPass], subject: Subject
) -> tuple[Model, list[Rewrite], list[Skip]]:
    """Run the structural passes; undo them all where the outputs leave the exact limit."""
    folded, rewrites, skips = fold_structure(model, passes)
    if not rewrites:
        return folded, [], skips
    deviation = _deviation(folded, subject)
    if deviation > EXACT_LIMIT:
        reason = f"folding changes the outputs by {deviation:.2g} (limit {EXACT_LIMIT:g}); undone"
        return model, [], [*skips, Skip("graph", passes[0].name, reason)]
    return folded, rewrites, skips


def _deviation(model: Model, subject: Subject) -> float:
    with open_session(loadable(model), custom_ops=subject.custom_ops) as session:
        return max(
            exact_deviation(sample.reference, run_all(session, sample.feeds)).value
            for sample in subject.samples
        )
