"""Says what may be done to a model: folds its structure, finds its layers, collects candidates."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from onnxzip.codec.level import FIRST_CODED_LEVEL, Level, level, packing
from onnxzip.disk.cache.kinds import Offers
from onnxzip.errors import ToleranceError
from onnxzip.graph import DECODE_OPSET, Model, inline_bytes, release_pages
from onnxzip.measure.subject import Subject
from onnxzip.options import Options
from onnxzip.passbase import Codec, Pass
from onnxzip.propose.ladders import completed
from onnxzip.propose.offers import able_passes, collect_offers, kind_of
from onnxzip.propose.registry import make_passes
from onnxzip.propose.room import fitting
from onnxzip.propose.structure import Draft, Settled, draft_structure, is_smaller_as_it_is
from onnxzip.propose.weights import FoundWeights, find_offered, is_kept, why_none
from onnxzip.propose.working.means import Means
from onnxzip.propose.working.recalled import content_of, measured, offered
from onnxzip.records.layer import Layer
from onnxzip.records.plan import Candidate, Plan, Rewrite, Skip
from onnxzip.records.progress import ShowProgress, at

_log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Proposal:
    """What may be done to a model.

    Attributes:
        model: the model after structural passes.
        layers: its weights.
        small_layers: its small float tensors, which may be rounded together.
        ladders: candidates by layer name, payloads released.
        passes: the passes that made them, by name.
        level: how coefficients are decoded.
        codecs: what quantises and prices each layer's coefficients.
        rewrites: what the structural passes did.
        skips: what was refused, and why.
        keep: patterns of the names of what has to stay as it is.
        is_exact: whether the model answers what the original answers.
        model_digest: of the model's content; "" where nothing is kept of it.
        is_smaller_as_it_is: whether it is worth a file with all weights as they are.
    """

    model: Model
    layers: Sequence[Layer]
    small_layers: Sequence[Layer]
    ladders: Mapping[str, Sequence[Candidate]]
    passes: Mapping[str, Pass]
    level: Level
    codecs: Mapping[str, Codec]
    rewrites: Sequence[Rewrite]
    skips: Sequence[Skip]
    keep: Sequence[str] = ()
    is_exact: bool = True
    model_digest: str = ""
    is_smaller_as_it_is: bool = False

    @property
    def n_plain_bytes(self) -> int:
        """What the folded model takes with all weights as they are: each once, if it was there twice."""
        return inline_bytes(self.model)

    @property
    def plain_plan(self) -> Plan | None:
        """The plan that leaves all weights as they are, where that alone makes the model smaller."""
        return Plan({}, 0.0, 0, 0.0) if self.is_smaller_as_it_is else None

    def is_kept(self, name: str) -> bool:
        """Whether an initializer has to stay as it is."""
        return is_kept(name, self.keep)

    def release_statistics(self) -> None:
        """Give back the memory of the layers' second moments; they stay valid."""
        release_pages(la.statistics.second_moment for la in self.layers if la.statistics is not None)


def propose(
    settled: Settled,
    subject: Subject,
    options: Options,
    show: ShowProgress,
    means: Means,
) -> Proposal:
    """Collect every pass's candidates for each of a model's weights.

    Args:
        settled: the model.
        subject: what it meets.
        options: what is allowed and wanted.
        show: called with the stage and the fraction done.
        means: what is worked with.

    Raises:
        UsageError: a pass or one of its settings does not exist.
    """
    model, found = settled.model, settled.weights
    weight_passes, chosen_level = _methods(model, options)
    model_digest = content_of(model) if means.cache.is_on else ""
    layers, unmeasured = measured(model, model_digest, found.layers, subject, show, means.cache)
    codecs = chosen_level.codecs(layers, options.load_memory)
    ladders, refusals = _collect_ladders(
        *(layers, weight_passes, codecs, means, show), n_free=means.n_free_each
    )
    n_candidates = sum(map(len, ladders.values()))
    _log.info("proposed: %d layers, %d candidates", len(layers), n_candidates)
    return Proposal(
        model,
        layers,
        found.small if chosen_level.renames else [],
        ladders,
        weight_passes,
        chosen_level,
        codecs,
        settled.rewrites,
        [*settled.skips, *found.skips, *unmeasured, *refusals],
        options.keep,
        settled.is_exact,
        model_digest,
        is_smaller_as_it_is(model, options),
    )


def draft_offered(original: Model, options: Options) -> Draft:
    """Draft a model's structure; refuse one that no pass makes smaller where no run is needed to know.

    What a float weight may lose depends on what it meets; integers are coded as they are, or not.

    Raises:
        ToleranceError: there is nothing to be gained; or see `draft_structure`, as for all others.
    """
    draft = draft_structure(original, options)
    if options.objective == "speed" or options.target_size is not None:
        return draft  # nodes may be faster, and folding alone may meet a size
    reasons: list[Skip] = []
    for model in (draft.raised, draft.folded):  # a fold may be undone
        found, reasons = find_offered(model, options), []
        if is_smaller_as_it_is(model, options) or _is_any_offered(model, found, options, reasons):
            return draft
        reasons += found.skips
    others = "let other `passes` try"
    if options.level < FIRST_CODED_LEVEL:
        others = f"entropy code it with a `level` of {FIRST_CODED_LEVEL} or above"
    raise ToleranceError(
        f"{original.source}: no weight can be made smaller: {why_none(draft.folded, reasons)}; use the "
        f"model as it is, or {others}"
    )


def _is_any_offered(model: Model, found: FoundWeights, options: Options, reasons: list[Skip]) -> bool:
    """Whether a pass may make a weight smaller; else add to `reasons` why none does."""
    methods, chosen_level = _methods(model, options)
    codecs = chosen_level.codecs(found.layers, options.load_memory)
    for layer in found.layers:
        if kind_of(layer) == "float" and able_passes(layer, methods):
            return True
        candidates, skips = collect_offers(layer, methods, codecs[layer.name])
        if candidates:
            return True
        reasons += skips
    return False


def _methods(model: Model, options: Options) -> tuple[dict[str, Pass], Level]:
    """Return the selected passes of weights, and how weights are decoded, as the opset has it."""
    methods, _ = make_passes(options)
    if model.opset >= DECODE_OPSET:
        return methods, level(options.level)
    able = {name: method for name, method in methods.items() if method.min_opset <= model.opset}
    return able, packing(level(options.level))


def _collect_ladders(
    layers: Sequence[Layer],
    passes: Mapping[str, Pass],
    codecs: Mapping[str, Codec],
    means: Means,
    show: ShowProgress,
    n_free: int | None,
) -> tuple[dict[str, Sequence[Candidate]], list[Skip]]:
    """Return the candidates of each layer, payloads released, and what passes refused."""
    able = {layer.name: fitting(layer, passes, n_free) for layer in layers}
    fit = {name: found for name, (found, _) in able.items()}
    offers: dict[int, Offers] = {}
    for place, found in offered(layers, fit, codecs, means.cache, means.workers):
        offers[place] = found
        n_done = len(offers)
        show(f"layer {n_done} of {len(layers)}", at("layers", n_done / len(layers)))
    ladders: dict[str, Sequence[Candidate]] = {}
    skips: list[Skip] = []
    for place, layer in enumerate(layers):
        candidates, refusals = offers[place]
        candidates = [replace(candidate, layer=layer) for candidate in candidates]
        # What is between two rates, or above them, may be infinite where both are not.
        is_curve = not layer.is_near_infinity
        ladders[layer.name] = completed(candidates, codecs[layer.name]) if is_curve else candidates
        skips += [*able[layer.name][1], *(refusals if able[layer.name][0] else ())]
    return ladders, skips
