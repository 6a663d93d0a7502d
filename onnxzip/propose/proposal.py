"""Says what may be done to a model: folds its structure, finds its layers, collects candidates."""

from __future__ import annotations

import fnmatch
import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from joblib import Parallel, delayed

from onnxzip.codec.level import Level, level, packing
from onnxzip.errors import ModelError, UsageError
from onnxzip.graph import (
    DECODE_OPSET,
    Model,
    annotate_layers,
    find_layers,
    find_small_layers,
    is_marked,
    release_pages,
)
from onnxzip.measure.moments.second_moments import collect_statistics
from onnxzip.measure.subject import Subject
from onnxzip.options import Options
from onnxzip.passbase import Codec, Pass
from onnxzip.propose.ladders import completed, forms_for
from onnxzip.propose.offers import collect_offers
from onnxzip.propose.registry import make_passes
from onnxzip.propose.structure import fold_exactly, raise_old_opset
from onnxzip.records.layer import Layer
from onnxzip.records.plan import Candidate, Rewrite, Skip
from onnxzip.records.progress import ShowProgress
from onnxzip.runtime.apart import end_with

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

    def is_kept(self, name: str) -> bool:
        """Whether an initializer has to stay as it is."""
        return _is_kept(name, self.keep)

    def release_statistics(self) -> None:
        """Give back the memory of the layers' second moments; they stay valid."""
        release_pages(la.statistics.second_moment for la in self.layers if la.statistics is not None)


def propose(original: Model, subject: Subject, options: Options, show: ShowProgress) -> Proposal:
    """Fold the model, find its layers, and collect every pass's candidates for each of them.

    Raises:
        ModelError: a weight is not finite, or an old opset cannot be raised exactly.
        UsageError: a pass or one of its settings does not exist.
    """
    if is_marked(original):
        raise ModelError(
            f"{original.source}: was compressed by onnxzip already; decompress it first (onnxzip -d)"
        )
    weight_passes, graph_passes = make_passes(options)
    model, rewrites, unraised = raise_old_opset(original, subject)
    chosen_level = level(options.level)
    if model.opset < DECODE_OPSET:
        chosen_level, graph_passes = packing(chosen_level), []
        weight_passes = {n: p for n, p in weight_passes.items() if p.min_opset <= model.opset}
    model, folds, skips = fold_exactly(model, graph_passes, subject)
    layers, small, refused = _find_weights(model, subject, options.keep)
    layers, unmeasured = _measure_inputs(model, layers, subject, show)
    codecs = chosen_level.codecs(layers)
    ladders, refusals = _collect_ladders(layers, weight_passes, codecs, options, show)
    n_candidates = sum(map(len, ladders.values()))
    _log.info("proposed: %d layers, %d candidates", len(layers), n_candidates)
    return Proposal(
        model,
        layers,
        small if chosen_level.renames else [],
        ladders,
        weight_passes,
        chosen_level,
        codecs,
        [*rewrites, *folds],
        [*unraised, *skips, *refused, *unmeasured, *refusals],
        options.keep,
    )


def _find_weights(
    model: Model, subject: Subject, keep: Sequence[str]
) -> tuple[list[Layer], list[Layer], list[Skip]]:
    """Return the layers and the small tensors that may change, and why others may not."""
    layers, skips = find_layers(model)
    shapes = {name: array.shape for name, array in subject.samples[0].feeds.feeds[0].items()}
    layers = annotate_layers(model, layers, shapes)
    small = find_small_layers(model)
    _check_patterns([*layers, *small], keep)
    kept = [layer.name for layer in layers if _is_kept(layer.name, keep)]
    return (
        [layer for layer in layers if layer.name not in kept],
        [layer for layer in small if not _is_kept(layer.name, keep)],
        [*skips, *(Skip(name, "keep", "kept on request") for name in kept)],
    )


def _measure_inputs(
    model: Model, layers: Sequence[Layer], subject: Subject, show: ShowProgress
) -> tuple[list[Layer], list[Skip]]:
    """Return the layers with the statistics of what they meet, and why some have none."""
    statistics, skips = collect_statistics(
        model,
        layers,
        subject.fitted_feeds,
        subject.custom_ops,
        lambda fraction: show("statistics", 0.1 + 0.1 * fraction),
    )
    return [statistics.attach(layer) for layer in layers], skips


def _collect_ladders(
    layers: Sequence[Layer],
    passes: Mapping[str, Pass],
    codecs: Mapping[str, Codec],
    options: Options,
    show: ShowProgress,
) -> tuple[dict[str, Sequence[Candidate]], list[Skip]]:
    """Return the candidates of each layer, payloads released, and what passes refused."""
    forms = forms_for(options.objective)
    pool = Parallel(
        n_jobs=options.n_jobs,
        prefer="processes",
        return_as="generator",
        initializer=end_with,
        initargs=(os.getpid(),),
    )
    offers = pool(delayed(collect_offers)(layer, passes, codecs[layer.name], forms) for layer in layers)
    ladders: dict[str, Sequence[Candidate]] = {}
    skips: list[Skip] = []
    for i, (layer, (candidates, refusals)) in enumerate(zip(layers, offers, strict=True)):
        candidates = [replace(candidate, layer=layer) for candidate in candidates]
        ladders[layer.name] = completed(candidates, codecs[layer.name])
        skips += refusals
        show(f"layer {i + 1} of {len(layers)}", 0.2 + 0.3 * (i + 1) / len(layers))
    return ladders, skips


def _is_kept(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)


def _check_patterns(layers: Sequence[Layer], patterns: Sequence[str]) -> None:
    for pattern in patterns:
        if layers and not any(_is_kept(layer.name, [pattern]) for layer in layers):
            raise UsageError(
                f"`keep` '{pattern}' matches no weight; weights are called like '{layers[0].name}'"
            )
