"""Says what may be done to a model: folds its structure, finds its layers, collects candidates."""

from __future__ import annotations

import fnmatch
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import TypeAlias

import numpy as np
from joblib import Parallel, delayed
from threadpoolctl import threadpool_limits

from onnxzip import registry
from onnxzip.deviations import exact_deviation
from onnxzip.errors import ModelError, UsageError
from onnxzip.evaluation import source_of
from onnxzip.feedback import OutputError, RowError
from onnxzip.graph import (
    Model,
    annotate_layers,
    find_layers,
    find_small_layers,
    is_stamped,
    raise_opset,
    release_pages,
)
from onnxzip.levels import Level, level
from onnxzip.options import Options
from onnxzip.passbase import Codec, GraphPass, Pass, relative_error
from onnxzip.planner import forms_for, with_midpoints
from onnxzip.proof import Subject
from onnxzip.runtime import open_session
from onnxzip.statistics import collect_statistics
from onnxzip.surgery import fold_structure
from onnxzip.types import Candidate, Form, Layer, Rewrite, Skip
from onnxzip.validate import EXACT_LIMIT, RunOutputs

ShowProgress: TypeAlias = Callable[[str, float], None]


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
    if is_stamped(original):
        raise ModelError(
            f"{original.source}: was compressed by onnxzip already; decompress it first (onnxzip -d)"
        )
    weight_passes, graph_passes = make_passes(options)
    model, rewrites = _raise_opset(original, subject)
    model, folds, skips = _fold(model, graph_passes, subject)
    layers, refused = find_layers(model)
    shapes = {name: array.shape for name, array in subject.sample.feeds.feeds[0].items()}
    layers = annotate_layers(model, layers, shapes)
    small = find_small_layers(model)
    _check_patterns([*layers, *small], options.keep)
    wanted = [layer for layer in layers if not _is_kept(layer.name, options.keep)]
    skips += refused
    kept = [layer for layer in layers if _is_kept(layer.name, options.keep)]
    skips += [Skip(layer.name, "keep", "kept by --keep") for layer in kept]
    statistics, untapped = collect_statistics(
        model,
        wanted,
        subject.fitted.feeds,
        subject.custom_ops,
        lambda f: show("statistics", 0.1 + 0.1 * f),
    )
    skips += untapped
    wanted = [statistics.attach(layer) for layer in wanted]
    chosen_level = level(options.level)
    codecs = chosen_level.codecs(wanted)
    forms = forms_for(options.objective)
    offers = Parallel(n_jobs=options.n_jobs, prefer="processes", return_as="generator")(
        delayed(_offer)(layer, weight_passes, codecs[layer.name], forms) for layer in wanted
    )
    ladders: dict[str, Sequence[Candidate]] = {}
    for i, (layer, (candidates, refusals)) in enumerate(zip(wanted, offers, strict=True)):
        candidates = [replace(candidate, layer=layer) for candidate in candidates]
        is_continuous = codecs[layer.name].is_continuous
        ladders[layer.name] = with_midpoints(candidates) if is_continuous else candidates
        skips += refusals
        show(f"layer {i + 1} of {len(wanted)}", 0.2 + 0.3 * (i + 1) / len(wanted))
    rounded = small if chosen_level.renames else []
    return Proposal(
        model,
        wanted,
        [layer for layer in rounded if not _is_kept(layer.name, options.keep)],
        ladders,
        weight_passes,
        chosen_level,
        codecs,
        [*rewrites, *folds],
        skips,
        options.keep,
    )


def make_passes(options: Options) -> tuple[dict[str, Pass], list[GraphPass]]:
    """Return the selected passes with the user's settings: those of weights, and structural ones.

    Raises:
        UsageError: a pass or one of its settings does not exist.
    """
    weight_passes: dict[str, Pass] = {}
    graph_passes: list[GraphPass] = []
    selected = registry.select(options.passes, options.skip)
    for name in options.pass_settings:
        if name not in selected:
            raise UsageError(f"settings are given for pass '{name}', which is not used")
    for name, cls in selected.items():
        given = dict(options.pass_settings.get(name, {}))
        known = {f.name for f in fields(cls)}  # type: ignore[arg-type]  # all passes are dataclasses
        if unknown := sorted(set(given) - known):
            raise UsageError(f"pass '{name}' has no setting '{unknown[0]}'; it has {sorted(known)}")
        if "seed" in known:
            given.setdefault("seed", options.seed)
        instance = cls(**given)
        if isinstance(instance, GraphPass):
            graph_passes.append(instance)
        else:
            weight_passes[name] = instance
    return weight_passes, graph_passes


def _is_kept(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)


def _check_patterns(layers: Sequence[Layer], patterns: Sequence[str]) -> None:
    for pattern in patterns:
        if layers and not any(_is_kept(layer.name, [pattern]) for layer in layers):
            raise UsageError(
                f"--keep '{pattern}' matches no weight; weights are called like '{layers[0].name}'"
            )


def _raise_opset(original: Model, subject: Subject) -> tuple[Model, list[Rewrite]]:
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


def _fold(
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
    sample = subject.sample
    with open_session(source_of(model), custom_ops=subject.custom_ops) as session:
        return exact_deviation(sample.reference, RunOutputs(session, sample.feeds)).value


def _offer(
    layer: Layer, passes: Mapping[str, Pass], codec: Codec, forms: Sequence[Form]
) -> tuple[list[Candidate], list[Skip]]:
    """Return every pass's candidates for a layer, payloads released, and the refusals.

    On one thread: BLAS adds up in another order with several, and what `-j` does must not change a byte.
    The candidates come without the layer, which must not come back from another process as a copy.
    """
    with threadpool_limits(1):
        candidates, skips = _offer_on_one_thread(layer, passes, codec, forms)
    absent = Layer(layer.name, layer.op_type, np.zeros(0, np.float32), layer.layout)
    return [replace(candidate, layer=absent) for candidate in candidates], skips


def _offer_on_one_thread(
    layer: Layer, passes: Mapping[str, Pass], codec: Codec, forms: Sequence[Form]
) -> tuple[list[Candidate], list[Skip]]:
    candidates: list[Candidate] = []
    skips: list[Skip] = []
    kind = "integer" if layer.weight.dtype.kind in "iub" else "float"
    able = {name: method for name, method in passes.items() if kind in method.kinds}
    if not able:
        return [], [Skip(layer.name, ", ".join(passes), f"no selected pass takes {kind} weights")]
    measure = _error_measure(layer)
    for method in able.values():
        for offer in method.candidates(layer, codec, forms):
            if isinstance(offer, Skip):
                skips.append(offer)
            elif offer.n_bytes < layer.weight.nbytes or offer.form == "computed":
                if measure is not None:
                    offer = replace(offer, error=measure(method.restore(offer)))
                candidates.append(offer.released())
    if not candidates and not skips:
        skips.append(Skip(layer.name, ", ".join(able), "no candidate is smaller than the weight"))
    return candidates, skips


def measured(candidate: Candidate, method: Pass) -> Candidate:
    """Return a candidate with a payload whose error was estimated with the error that it really has."""
    restored = method.restore(candidate)
    measure = _error_measure(candidate.layer)
    if measure is not None:
        error = measure(restored)
    else:
        error = relative_error(candidate.layer.canonical(), restored)
    return replace(candidate, error=error, is_estimate=False)


def _error_measure(layer: Layer) -> OutputError | RowError | None:
    """Return what measures a restored weight's error as it counts; None where nothing was measured."""
    if layer.statistics is not None:
        return OutputError(layer.canonical(), layer.statistics)
    if layer.row_weights is not None:
        return RowError(layer.weight, layer.row_weights)
    return None
