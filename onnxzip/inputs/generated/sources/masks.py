"""Masks, the lengths that go with them, and scalars: small inputs that decide what the others do.

Most tokens are kept; every second row ends padded, to lengths that are the same in all inputs of a run
(rows are numbered through all runs). A mask whose name does not tell what its ones mean is made in each
meaning, always with some tokens of either kind in every row: read the wrong way, it hides many tokens,
but never all, so that no softmax is over nothing.
"""

from __future__ import annotations

import re
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from onnxzip.records.aliases import Array

Meaning: TypeAlias = Literal["keep", "hide", "add"]
"""Ones are kept; ones are hidden; the mask is added to scores: 0 is kept, -10000 is hidden."""

_NAME = re.compile(r"mask|att(ention|n)_bias")
_ADDED = re.compile(r"bias|key_padding")  # a float key_padding_mask of torch.nn.MultiheadAttention
_ATTENTION = re.compile(r"att(ention|n)|causal|look_?ahead|(src|tgt|memory)_mask")
# transformers' attention_mask and pixel_mask, BERT's input_mask, the x_mask of VITS: 1 is a token.
_KEEPS = re.compile(r"attention_mask|pixel|input_mask|\b[xyz]_mask")
# torch's key_padding_mask; what transformers calls tokens to predict or to treat apart: 1 is rare.
_HIDES = re.compile(r"key_padding|masked|mask_time|global")
# 1 is padding for fairseq, a token for Keras.
_PADDING = re.compile(r"pad")
_PICTURE = re.compile(r"pixel|image|img")
# A mask of (tokens, tokens), not of (batch, tokens); then those of decoders, and of all attention.
_PAIRWISE = re.compile(r"attn|causal|look_?ahead|(src|tgt|memory)_mask")
_CAUSAL = re.compile(r"causal|look_?ahead|tgt|decoder|^att(ention|n)")

_HIDDEN = -10000.0
"""BERT's (google-research/bert, modeling.py): a float16, and exp of it is 0. -inf may end in NaN."""

_LEAST_KEPT = 0.5
"""Of a padded row. A guess: sentences differ in length, but batches are made of like ones."""

_GOLDEN = (np.sqrt(5) - 1) / 2
"""Multiples of it modulo 1 are spread evenly, however many there are."""

_N_SMALL = 4
"""Integers that nothing is known of are below this: modes, speakers, numbers of steps. A guess."""


def is_mask(name: str) -> bool:
    """Whether an input of this name is a mask."""
    return _NAME.search(name.lower()) is not None


def mask_meanings(name: str, dtype: np.dtype[Any], rank: int) -> tuple[Meaning, ...]:
    """Return what a mask may mean, the likeliest first.

    Args:
        name: of the input.
        dtype: of the input; only floats can be added.
        rank: number of axes. A float attention mask of three and more has a value for each pair of
            tokens and is added; one of two is multiplied, or subtracted from 1.
    """
    name = name.lower()
    if dtype.kind == "f":
        if _ADDED.search(name):
            return ("add",)
        if _ATTENTION.search(name) and rank >= 3:
            return ("add", "keep")
        return ("hide", "keep") if _PADDING.search(name) else ("keep",)
    if _HIDES.search(name):
        return ("hide",)
    if _KEEPS.search(name):
        return ("keep",)
    return ("hide", "keep") if _PADDING.search(name) else ("keep", "hide")


def make_mask(
    name: str,
    meaning: Meaning,
    shape: tuple[int, ...],
    dtype: np.dtype[Any],
    *,
    first_row: int = 0,
    always_padded: bool = False,
) -> Array:
    """Make a mask.

    Args:
        name: of the input: whether the mask is causal, or one of pictures.
        meaning: of its values.
        shape: (tokens,), (batch, tokens), (batch, tokens, 1), (batch, height, width), or for pairs of
            tokens (tokens, tokens) and (batch, ..., tokens, tokens).
        dtype: of the result.
        first_row: the number of its first row, counted through all runs.
        always_padded: whether every row hides something: for a mask that may mean something else.
    """
    seen = _visible(name.lower(), shape, first_row, always_padded)
    if meaning == "add":
        return np.where(seen, 0.0, _HIDDEN).astype(dtype)
    return (seen if meaning == "keep" else ~seen).astype(dtype)


def row_lengths(
    n_rows: int, longest: int, *, first_row: int = 0, always_padded: bool = False
) -> NDArray[np.int64]:
    """Return how many tokens of each row are no padding, as `make_mask` keeps them: from 1 to all.

    Args:
        n_rows: number of rows.
        longest: tokens of a whole row.
        first_row: the number of the first row, counted through all runs.
        always_padded: whether the even rows are padded, too.
    """
    numbers = first_row + np.arange(n_rows)
    kept = 1 - (1 - _LEAST_KEPT) * ((numbers + 1) * _GOLDEN % 1)
    padded = np.clip(np.ceil(kept * longest), 1, max(longest - 1, 1))
    is_whole = (numbers % 2 == 0) & (not always_padded)
    return np.where(is_whole, longest, padded).astype(np.int64)


def scale_factors(shape: tuple[int, ...], rng: np.random.Generator) -> NDArray[np.float64]:
    """Draw scales, temperatures, thresholds and the like: from 0.5 to 2, as many below 1 as above."""
    return 2.0 ** rng.uniform(-1, 1, shape)


def small_integers(shape: tuple[int, ...], rng: np.random.Generator) -> NDArray[np.int64]:
    """Draw integers of which nothing is known: 0 and a few more."""
    return rng.integers(0, _N_SMALL, shape)


def _visible(
    name: str, shape: tuple[int, ...], first_row: int, always_padded: bool
) -> NDArray[np.bool_]:
    """Return which elements of a mask are seen."""
    if not shape:
        return np.ones((), np.bool_)
    is_padding = _PADDING.search(name) is not None
    is_square = len(shape) == 2 and shape[0] == shape[1] > 1
    is_pairwise = is_square and not is_padding and _PAIRWISE.search(name) is not None
    n_rows = 1 if is_pairwise or len(shape) == 1 else shape[0]

    def front(axis: int) -> NDArray[np.bool_]:
        size = shape[axis]
        lengths = row_lengths(n_rows, size, first_row=first_row, always_padded=always_padded)
        places = np.arange(size).reshape((size,) + (1,) * (-1 - axis))
        seen: NDArray[np.bool_] = places < lengths.reshape((n_rows,) + (1,) * (len(shape) - 1))
        return seen

    is_column = len(shape) > 2 and shape[-1] == 1
    seen = front(-2) if is_column else front(-1)
    if len(shape) > 2 and _PICTURE.search(name):
        seen = seen & front(-2)
    elif (is_pairwise or len(shape) > 2) and not is_padding and _CAUSAL.search(name):
        n_queries, n_keys = shape[-2:]  # the queries are the last of the keys, behind those of a cache
        if n_queries > 1 and n_keys > 1:
            seen = seen & np.tri(n_queries, n_keys, max(n_keys - n_queries, 0), np.bool_)
    return np.broadcast_to(seen, shape)
