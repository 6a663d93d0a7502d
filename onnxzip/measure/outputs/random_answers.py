"""Outputs that are no function of what a model is fed: it draws numbers, or never runs alike twice."""

from __future__ import annotations

from pathlib import Path

from onnxzip import graph
from onnxzip.errors import ModelError
from onnxzip.graph import Model, loadable
from onnxzip.inputs.feedset import FeedSet
from onnxzip.measure.metrics.rel_l2 import exact_deviation
from onnxzip.records.aliases import Feeds
from onnxzip.runtime.outputs import Outputs
from onnxzip.runtime.session import Session, open_session

STABLE_LIMIT = 1e-6
"""Largest relative deviation between two runs of the same model on the same inputs."""

_N_RUNS = 4
"""Runs that are repeated where a node draws numbers: a few numbers may be the same by luck."""


def random_answers(
    original: Model, session: Session, feeds: FeedSet, custom_ops: Path | None
) -> dict[str, str]:
    """Return why outputs answer otherwise each time, by name; nothing for what does not.

    Args:
        original: the model.
        session: it, as users run it.
        feeds: what to run on.
        custom_ops: shared library of custom operators.

    Raises:
        ModelError: all outputs do.
    """
    drawn = graph.random_outputs(original)
    runs = feeds.feeds[: _N_RUNS if drawn else 1]
    found = dict.fromkeys(name for run in runs for name in unstable_outputs(session, run))
    if drawn:  # onnxruntime may leave a Dropout in training mode out when it optimises a graph
        with open_session(loadable(original), optimisation="off", custom_ops=custom_ops) as plain:
            found |= dict.fromkeys(name for run in runs for name in unstable_outputs(plain, run))
    reasons = {name: _reason(drawn.get(name.partition("[")[0], "")) for name in found}
    if reasons and not session.run(runs[0]).keys() - reasons.keys():
        name = next(iter(reasons))
        raise ModelError(
            f"{original.source}: output {name!r} {reasons[name]}, so that no loss can be measured; "
            "export the model in inference mode (model.eval()), or without what is random"
        )
    return reasons


def unstable_outputs(session: Session, feeds: Feeds) -> tuple[str, ...]:
    """Return the outputs that differ between two runs on the same inputs."""
    first, second = session.run(feeds), session.run(feeds)
    return tuple(
        name
        for name in {**first, **second}
        if exact_deviation([_only(name, first)], [_only(name, second)]).value > STABLE_LIMIT
    )


def _only(name: str, outputs: Outputs) -> Outputs:
    """Return one output, nothing where a run has none of the name."""
    return {name: outputs[name]} if name in outputs else {}


def _reason(node: str) -> str:
    if node:
        return f"is random at inference: {node} draws new numbers in each run"
    return "differs between two runs on the same input (a random operator?)"
