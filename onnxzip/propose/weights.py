"""Finds the weights that may change, and says why there are none."""

from __future__ import annotations

import fnmatch
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from onnxzip.errors import UsageError
from onnxzip.graph import (
    MIN_ELEMENTS,
    MIN_INTEGER_BYTES,
    Model,
    find_layers,
    find_small_layers,
    largest_constant,
)
from onnxzip.options import Options
from onnxzip.records.elements.exact import is_exact
from onnxzip.records.layer import Layer
from onnxzip.records.plan import Skip

_WORTH_A_LOSS = 1 / 20
"""Bytes of floats, for each byte that stays exact, below which no loss is spent on them: as little as is
not worth a file (`structure._SMALLER`)."""

_ADVICE = "; use the model as it is"


@dataclass(frozen=True, eq=False)
class FoundWeights:
    """What may change in a model.

    Attributes:
        layers: weights that are stored in another way, each on its own.
        small: float tensors that may be rounded together.
        skips: why other weights have to stay.
    """

    layers: Sequence[Layer]
    small: Sequence[Layer]
    skips: Sequence[Skip]


def find_weights(model: Model, keep: Sequence[str]) -> FoundWeights:
    """Return the layers and the small tensors that may change, and why others may not.

    Args:
        model: the model.
        keep: patterns of the names of what has to stay as it is.

    Raises:
        ModelError: a weight is not finite.
        UsageError: a pattern matches no weight.
    """
    layers, skips = find_layers(model)
    small = find_small_layers(model)
    _check_patterns([*layers, *small], keep)
    kept = [layer.name for layer in layers if is_kept(layer.name, keep)]
    return FoundWeights(
        [layer for layer in layers if layer.name not in kept],
        [layer for layer in small if not is_kept(layer.name, keep)],
        [*skips, *(Skip(name, "keep", "kept on request") for name in kept)],
    )


def find_offered(model: Model, options: Options) -> FoundWeights:
    """Return the same as `find_weights`, but for floats that no loss is worth it for.

    Where nearly all weights are quantised already, the few floats are scales, norms and the heads that
    were too sensitive: all of them together save too little. A size or speed that is asked for may need
    them.

    Raises:
        ModelError, UsageError: see `find_weights`.
    """
    found = find_weights(model, options.keep)
    exact = [layer for layer in found.layers if is_exact(layer.weight.dtype)]
    floats = [layer for layer in found.layers if not is_exact(layer.weight.dtype)]
    n_exact, n_float = (sum(la.n_bytes for la in some) for some in (exact, (*floats, *found.small)))
    is_asked_for = options.target_size is not None or options.objective == "speed"
    if is_asked_for or n_float > _WORTH_A_LOSS * n_exact:
        return found
    share = 100 * n_float / max(n_exact + n_float, 1)
    reason = f"all floats are {share:.1f} % of the weights, and the others stay exact: not worth a loss"
    kept = [Skip(layer.name, "graph", reason) for layer in floats]
    return FoundWeights(exact, [], [*found.skips, *kept])


def is_kept(name: str, patterns: Collection[str]) -> bool:
    """Whether a weight has to stay as it is."""
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)


def why_none(model: Model, skips: Sequence[Skip]) -> str:
    """Say why no weight of a model can be made smaller, by one of them.

    Args:
        model: the model.
        skips: why its weights stay as they are; where there is none, it is the largest tensor's size or
            type.
    """
    if skips:
        first, *others = skips
        more = f", and {len(others)} more weights stay" if others else ""
        return f"'{first.layer}': {first.reason}{more}"
    found = largest_constant(model)
    if found is None:
        return f"it holds no constant tensor{_ADVICE}"
    named = f"its largest tensor, '{found.name}' ({found.type_name} {tuple(found.shape)})"
    if found.is_integer and found.n_bytes < MIN_INTEGER_BYTES:
        return f"{named}, takes {found.n_bytes} bytes, and integers need {MIN_INTEGER_BYTES}{_ADVICE}"
    if found.n_elements < MIN_ELEMENTS:
        return f"{named}, has {found.n_elements} elements, and {MIN_ELEMENTS} are needed{_ADVICE}"
    return f"{named}, is of a type that stays as it is{_ADVICE}"


def _check_patterns(layers: Sequence[Layer], patterns: Sequence[str]) -> None:
    for pattern in patterns:
        if layers and not any(is_kept(layer.name, [pattern]) for layer in layers):
            raise UsageError(
                f"`keep` '{pattern}' matches no weight; weights are called like '{layers[0].name}'"
            )
