"""Structural changes before any weight is touched, undone where they change what the model answers.

What may be changed is decided on the file alone, before the model is run once: a model that cannot be
made smaller is refused within seconds, whatever a run of it takes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from onnxzip.codec.level import level
from onnxzip.errors import InputError, ModelError, ToleranceError
from onnxzip.graph import (
    DECODE_OPSET,
    INT8_OPSET,
    PACKED_OPSET,
    Model,
    bare_bytes,
    inline_bytes,
    is_marked,
    loadable,
    raise_opset,
    shorten_names,
)
from onnxzip.measure.metrics.rel_l2 import exact_deviation
from onnxzip.measure.outputs.recorded_outputs import run_all
from onnxzip.measure.speed.stopwatch import check_timed
from onnxzip.measure.subject import Subject
from onnxzip.options import Options
from onnxzip.propose.registry import make_passes
from onnxzip.propose.weights import FoundWeights, find_offered, is_kept, why_none
from onnxzip.prove.exact import EXACT_LIMIT
from onnxzip.records.plan import Rewrite, Skip
from onnxzip.rewrite.prepare import fold_structure
from onnxzip.runtime.session import open_session


@dataclass(frozen=True, eq=False)
class Draft:
    """A model as its structure allows it to be changed; what it answers is not looked at yet.

    Attributes:
        original: the model as it was read.
        raised: the same at an opset that has the decode operators; the original where that is its own,
            or cannot be raised.
        folded: the raised model after structural passes.
        rewrites: what these did.
        skips: what they refused.
        weights: those of the folded model.
    """

    original: Model
    raised: Model
    folded: Model
    rewrites: Sequence[Rewrite]
    skips: Sequence[Skip]
    weights: FoundWeights


_SMALLER = 0.95
"""Share of the original's bytes that a model without any weight changed must take at most to be worth a
file: names, identities and folded norms save less than this, but where weights are few or narrow."""


_LEAST_SAVED = 1024
"""Bytes that it must save besides: as much as a weight has at least (`graph.MIN_INTEGER_BYTES`)."""


def is_smaller_as_it_is(model: Model, options: Options) -> bool:
    """Whether a model is worth a file with all weights as they are: each once, and under short names."""
    if level(options.level).renames and not options.keep_names:
        model = model.copy()
        shorten_names(model, 0)
    n_bytes = inline_bytes(model)
    return n_bytes < _SMALLER * model.n_bytes and model.n_bytes - n_bytes >= _LEAST_SAVED


def draft_structure(original: Model, options: Options) -> Draft:
    """Raise the opset, fold, find the weights; refuse what no run of the model can help.

    Raises:
        InputError: it was compressed already, a weight is not finite, its opset cannot be raised; or
            nothing in it may change, and onnxruntime does not load it.
        ToleranceError: there is no weight that may change, or the size asked for is too small for any.
        UsageError: a pass or one of its settings does not exist, `keep` matches nothing, or the model
            does not take as many samples in a run as `batch` says.
    """
    if is_marked(original):
        raise ModelError(
            f"{original.source}: was compressed by onnxzip already; decompress it first (onnxzip -d)"
        )
    opset = INT8_OPSET if options.objective == "speed" else DECODE_OPSET
    raised, unraised = _raise_opset(original, opset)
    passes = make_passes(options)[1] if raised.opset >= DECODE_OPSET else []
    folded, rewrites, skips = fold_structure(raised, passes, partial(is_kept, patterns=options.keep))
    weights = find_offered(folded, options)
    if options.target_size is not None:  # folding alone may well meet a size
        _check_target(options.target_size, raised, folded)
    elif not weights.layers and not any(is_smaller_as_it_is(m, options) for m in (raised, folded)):
        unfolded = find_offered(raised, options)
        if not unfolded.layers:
            # Whether it is a model at all comes first: to load it takes little, unlike a run.
            open_session(loadable(original), custom_ops=options.custom_ops).close()
            reason = why_none(raised, unfolded.skips)
            raise ToleranceError(f"{original.source}: no weight can be made smaller: {reason}")
    check_timed(original, options)
    return Draft(original, raised, folded, rewrites, [*unraised, *skips], weights)


def _raise_opset(original: Model, opset: int) -> tuple[Model, list[Skip]]:
    """Raise the opset, or say why it stays, where weights can be packed at that opset as well."""
    try:
        return raise_opset(original, opset), []
    except ModelError as error:
        return original, [_not_raised(original, error)]


def _not_raised(original: Model, error: ModelError) -> Skip:
    if original.opset < PACKED_OPSET:
        raise error
    finding = error.finding.removeprefix(f"{original.source}: ")
    so = "weights are packed only" if original.opset < DECODE_OPSET else "nothing computes in int8"
    return Skip("graph", "opset", f"not raised, so that {so}: {finding}")


def _check_target(target_size: int, *models: Model) -> None:
    """Refuse a size that the graph alone exceeds."""
    n_bytes = min(map(bare_bytes, models))
    if n_bytes > target_size:
        raise ToleranceError(
            f"{models[0].source}: its graph alone, without any weight, takes {n_bytes} bytes, more than "
            f"`target_size` {target_size}; allow more (4MB is 4,000,000 bytes)"
        )


@dataclass(frozen=True, eq=False)
class Settled:
    """A model whose structure is changed as far as that leaves its answers alone.

    Attributes:
        model: the model.
        weights: its weights.
        rewrites: what was done to it.
        skips: what was refused.
        is_exact: whether it answers what the original answers.
    """

    model: Model
    weights: FoundWeights
    rewrites: Sequence[Rewrite]
    skips: Sequence[Skip]
    is_exact: bool = True


def settle_structure(draft: Draft, subject: Subject, options: Options) -> Settled:
    """Return the changed model, its weights, what was done and what was refused.

    The outputs have to stay what they were. A fold that moves them, or that fails where the original
    runs, is undone; so is a raised opset, where weights can be packed at the old one.

    Raises:
        ModelError: the opset had to be raised, and that moves the outputs.
    """
    try:
        raises = _check_raised(draft, subject)
    except ModelError as error:
        skip = _not_raised(draft.original, error)
        return Settled(draft.original, find_offered(draft.original, options), [], [skip])
    if not draft.rewrites:
        return Settled(draft.folded, draft.weights, raises, draft.skips)
    reason = _why_undone(draft.folded, subject)
    if reason:
        skip = Skip("graph", draft.rewrites[0].pass_name, f"{reason}; undone")
        return Settled(draft.raised, find_offered(draft.raised, options), raises, [*draft.skips, skip])
    return Settled(draft.folded, draft.weights, [*raises, *draft.rewrites], draft.skips)


def _check_raised(draft: Draft, subject: Subject) -> list[Rewrite]:
    """Demand that a raised opset leaves the outputs what they were; return what was done."""
    original, raised = draft.original, draft.raised
    if raised is original:
        return []
    where = f"{original.source}: raising opset {original.opset} to {raised.opset}"
    try:
        deviation = _deviation(raised, subject)
    except InputError as error:
        finding = error.finding.removeprefix(f"{original.source}: ")
        raise ModelError(f"{where} breaks it: {finding}; export at opset 11 or above") from error
    if deviation > EXACT_LIMIT:
        raise ModelError(f"{where} changes the outputs by {deviation:.2g}; export at opset 11 or above")
    description = f"raised from {original.opset} to {raised.opset}, outputs within {deviation:.1g}"
    return [Rewrite("opset", "ai.onnx", description)]


def _why_undone(folded: Model, subject: Subject) -> str:
    """Return why folding has to be undone, "" where it changes nothing."""
    try:
        deviation = _deviation(folded, subject)
    except InputError as error:
        return f"folding breaks the model: {error.finding.removeprefix(f'{folded.source}: ')}"
    is_within = deviation <= EXACT_LIMIT
    return "" if is_within else f"folding changes the outputs by {deviation:.2g} (limit {EXACT_LIMIT:g})"


def _deviation(model: Model, subject: Subject) -> float:
    with open_session(loadable(model), custom_ops=subject.custom_ops) as session:
        return max(
            exact_deviation(sample.reference, run_all(session, sample.feeds)).value
            for sample in subject.samples
        )
