"""Ids of words and other things that a model looks up in a table: as frequent as in texts, or all alike.

Words fall in frequency like 1 / (rank + q)^s, with s near 1 and q near 2.7 in texts of many languages
(Mandelbrot 1953; fitted by Piantadosi 2014, doi 10.3758/s13423-014-0585-6). With s = 1, rank + q has a
uniform logarithm, from which ranks are drawn without a table of frequencies.

Which rank an id has is not known. Vocabularies of merged pairs, of unigram scores and of counted words
come in the order of their frequency, roughly; alphabets and hashes come in none, and then the order of
the ids is as good a guess as any other. But many tables begin with rows that no text reads: of 42,698
tokens of the STS-B sentences none is among BERT's first 999, where the law by the order of the ids would
have 62 %. So half of the draws take the ranks in the order of the ids, and half spread them over the
table. The spread is the same in every run: a frequent id stays one.

Rows that few texts read have errors, too: `uniform_ids` goes over the whole table.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from onnxzip.records.aliases import Array

DrawIds: TypeAlias = Callable[[range, tuple[int, ...], np.random.Generator], NDArray[np.int64]]

_OFFSET = 2.7
"""q of the formula above, as Piantadosi gives it for exponent 1."""

_SORTED_SHARE = 0.5
"""Of the draws: the first rows get enough of them if they are frequent, and not too many if not."""

_MAX_ROWS = 2**31
"""No table has more, and its square is an int64. What is clipped may range up to 2^63."""

_GOLDEN = (math.sqrt(5) - 1) / 2
"""Multiples of this fraction of a table lie as far apart as multiples of anything can."""


def zipf_ids(ids: range, shape: tuple[int, ...], rng: np.random.Generator) -> NDArray[np.int64]:
    """Draw ids that fall in frequency like words.

    Args:
        ids: what is legal. Negative ones are left out where others are: texts have none, but a model
            that adds to its ids would allow them.
        shape: of the result.
        rng: source of the random numbers.
    """
    ids = range(max(ids.start, 0), ids.stop) or ids
    n_ids = min(ids.stop - ids.start, _MAX_ROWS)
    first, past = 0.5 + _OFFSET, n_ids + 0.5 + _OFFSET
    ranks = np.floor(first * (past / first) ** rng.random(shape) - first)
    ranks = np.clip(ranks, 0, n_ids - 1).astype(np.int64)
    spread = ranks * _stride(n_ids) % n_ids
    return ids.start + np.where(rng.random(shape) < _SORTED_SHARE, ranks, spread)


def uniform_ids(ids: range, shape: tuple[int, ...], rng: np.random.Generator) -> NDArray[np.int64]:
    """Draw ids evenly: n of them, in random order, as far apart as n of them can be.

    Args:
        ids: what is legal.
        shape: of the result.
        rng: source of the random numbers.
    """
    n_ids, n_draws = min(ids.stop - ids.start, _MAX_ROWS), math.prod(shape)
    places = (rng.permutation(n_draws) + rng.random()) / max(n_draws, 1)
    rows = np.minimum((places * n_ids).astype(np.int64), n_ids - 1)
    return ids.start + rows.reshape(shape)


def put_ids(
    values: Array, parts: Mapping[tuple[int, int], range], draw: DrawIds, rng: np.random.Generator
) -> Array:
    """Return values with ids at the places that index tables of their own.

    Args:
        values: what stands at all other places: floats, or ids that are legal everywhere.
        parts: legal ids by axis and place on it, as `graph.part_ranges` has them: (1, 2) is [:, 2].
        draw: `zipf_ids` or `uniform_ids`.
        rng: source of the random numbers.
    """
    values = values.copy()
    for (axis, place), ids in parts.items():
        column = (slice(None),) * axis + (place,)
        values[column] = draw(ids, values[column].shape, rng)
    return values


def _stride(n_ids: int) -> int:
    """Return a number near the golden section of a table whose multiples visit every row."""
    stride = max(round(_GOLDEN * n_ids), 1)
    while math.gcd(stride, n_ids) > 1:
        stride += 1
    return stride
