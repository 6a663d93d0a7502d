"""Every pass's candidates for one layer, with the errors as they count."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TypeAlias

import numpy as np
from threadpoolctl import threadpool_limits

from onnxzip.codec.layer_feedback import shared_feedback
from onnxzip.measure.moments.distortion import OutputDistortion, RowDistortion
from onnxzip.passbase import Codec, Pass, relative_error
from onnxzip.records.elements.exact import is_exact
from onnxzip.records.layer import Layer
from onnxzip.records.plan import Candidate, Skip

_ErrorMeasure: TypeAlias = OutputDistortion | RowDistortion


def kind_of(layer: Layer) -> str:
    """Return what a layer's weight is to passes: "integer", which stays exact, or "float"."""
    return "integer" if is_exact(layer.weight.dtype) else "float"


def able_passes(layer: Layer, passes: Mapping[str, Pass]) -> dict[str, Pass]:
    """Return those of some passes that take a layer's weight, by name."""
    return {name: method for name, method in passes.items() if kind_of(layer) in method.kinds}


def collect_offers(
    layer: Layer, passes: Mapping[str, Pass], codec: Codec
) -> tuple[list[Candidate], list[Skip]]:
    """Return every pass's candidates for a layer, payloads released, and the refusals.

    On one thread: BLAS adds up in another order with several, and what `-j` does must not change a byte.
    The candidates come without the layer, which must not come back from another process as a copy.
    """
    with threadpool_limits(1), shared_feedback():
        candidates, skips = _offer_on_one_thread(layer, passes, codec)
    absent = Layer(layer.name, layer.op_type, np.zeros(0, np.float32), layer.layout)
    return [replace(candidate, layer=absent) for candidate in candidates], skips


def _offer_on_one_thread(
    layer: Layer, passes: Mapping[str, Pass], codec: Codec
) -> tuple[list[Candidate], list[Skip]]:
    candidates: list[Candidate] = []
    skips: list[Skip] = []
    able = able_passes(layer, passes)
    if not able:
        reason = f"no selected pass takes {kind_of(layer)} weights"
        return [], [Skip(layer.name, ", ".join(passes), reason)]
    measure = _error_measure(layer)
    for method in able.values():
        for offer in _measured(method, layer, codec, measure):
            if isinstance(offer, Skip):
                skips.append(offer)
            else:
                candidates.append(offer)
    if not candidates and not skips:
        reason = (
            "its largest numbers would be rounded to infinity"
            if layer.is_near_infinity
            else "no candidate is smaller than the weight"
        )
        skips.append(Skip(layer.name, ", ".join(able), reason))
    return candidates, skips


def _measured(
    method: Pass, layer: Layer, codec: Codec, measure: _ErrorMeasure | None
) -> Iterator[Candidate | Skip]:
    """Yield a pass's refusals, and its candidates that are smaller than the weight, with true errors.

    Estimates keep their ratio to the candidate before them.
    """
    ratio = 1.0
    for offer in method.candidates(layer, codec):
        if isinstance(offer, Skip):
            yield offer
        elif offer.n_bytes < layer.n_bytes:
            if offer.is_estimate:
                offer = replace(offer, error=offer.error * ratio)
            elif measure is not None:
                error = _counted(offer, method, measure)
                ratio = error / offer.error if offer.error > 0 else 1.0
                offer = replace(offer, error=error)
            if math.isfinite(offer.error):
                yield offer.released()


def _counted(candidate: Candidate, method: Pass, measure: _ErrorMeasure) -> float:
    """Return a candidate's error as it counts; rounding with feedback knows what it lost."""
    lost = None if candidate.encoded is None else candidate.encoded.lost
    if lost is not None and isinstance(measure, OutputDistortion):
        return measure.of_energy(lost)
    return measure(method.restore(candidate))


def with_true_error(candidate: Candidate, method: Pass) -> Candidate:
    """Return a candidate with a payload whose error was estimated with the error that it really has."""
    measure = _error_measure(candidate.layer)
    if measure is not None:
        error = _counted(candidate, method, measure)
    else:
        error = relative_error(candidate.layer.canonical(), method.restore(candidate))
    return replace(candidate, error=error, is_estimate=False)


def _error_measure(layer: Layer) -> _ErrorMeasure | None:
    """Return what measures a restored weight's error as it counts; None where nothing was measured."""
    if layer.statistics is not None:
        return OutputDistortion(layer.canonical(), layer.statistics)
    if layer.row_weights is not None:
        return RowDistortion(layer.weight, layer.row_weights)
    return None
