"""Structural changes before any weight is touched, undone where they change what the model answers."""

from __future__ import annotations

from collections.abc import Sequence

from onnxzip.errors import CalibrationError, ModelError, ProviderError
from onnxzip.graph import PACKED_OPSET, Model, loadable, raise_opset
from onnxzip.measure.metrics.rel_l2 import exact_deviation
from onnxzip.measure.outputs.recorded_outputs import run_all
from onnxzip.measure.subject import Subject
from onnxzip.passbase import GraphPass
from onnxzip.prove.exact import EXACT_LIMIT
from onnxzip.records.plan import Rewrite, Skip
from onnxzip.rewrite.prepare import fold_structure
from onnxzip.runtime.session import open_session


def raise_old_opset(original: Model, subject: Subject) -> tuple[Model, list[Rewrite], list[Skip]]:
    """Raise an opset below 11 where the outputs stay what they were.

    Returns:
        The model, what was done, and why it stays as it is: it then has to be decoded by operators that
        are as old.

    Raises:
        ModelError: it stays as it is, and nothing can be decoded there.
    """
    try:
        model = raise_opset(original)
        if model is original:
            return model, [], []
        deviation = _deviation(model, subject)
        if deviation > EXACT_LIMIT:
            raise ModelError(
                f"{original.source}: raising opset {original.opset} to {model.opset} changes the "
                f"outputs by {deviation:.2g}; export at opset 11 or above"
            )
    except (CalibrationError, ModelError, ProviderError) as error:
        if original.opset < PACKED_OPSET:
            raise
        return original, [], [Skip("graph", "opset", f"not raised: {error}")]
    description = f"raised from {original.opset} to {model.opset}, outputs within {deviation:.1g}"
    return model, [Rewrite("opset", "ai.onnx", description)], []


def fold_exactly(
    model: Model, passes: Sequence[GraphPass], subject: Subject
) -> tuple[Model, list[Rewrite], list[Skip]]:
    """Run the structural passes; undo them all where the outputs leave the exact limit."""
    folded, rewrites, skips = fold_structure(model, passes)
    if not rewrites:
        return folded, [], skips
    try:
        deviation = _deviation(folded, subject)
    except (CalibrationError, ModelError, ProviderError) as error:
        return model, [], [*skips, Skip("graph", passes[0].name, f"folding breaks it: {error}; undone")]
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
