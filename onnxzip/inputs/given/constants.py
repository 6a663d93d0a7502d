"""Inputs that do not vary though they should: one value or sample everywhere, idle masks."""

from __future__ import annotations

import re
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from onnxzip.inputs.given.columns import Column
from onnxzip.records.aliases import Array
from onnxzip.records.finding import Finding

_LEAST_VARIATION = 1e-3
"""Of an input's size: less than a change of one step in a picture of 8 bits, 1/255, everywhere."""

_MIN_TO_COMPARE = 2
"""Samples, to say that all are the same."""

_SHOWING_MASK = re.compile(r"attention_mask|input_mask|pixel_mask")
_HIDING_MASK = re.compile(r"padding_mask|pad_mask")
"""Names of masks whose ones show, and of those whose ones hide: transformers' and torch.nn's. What other
masks mean is not known."""

_HIDDEN_SCORE = -1000.0
"""What is added to a score to hide it: -1e4 in float16, -3.4e38, -Inf."""

_MOST_ODD_ROWS = 0.1
"""Share of samples with a mask that hides all, or with padding in spite of a mask that shows all."""

_PADDING_LENGTH = 4
"""Equal ids at one end of a row: no sentence ends in so many."""

_ID_NAME = re.compile(r"ids?$|token|input")


def constant_inputs(columns: list[Column]) -> Iterator[Finding]:
    """Yield a finding for each input that does not vary though it should."""
    varies = any(not (column.may_repeat or column.is_repeated) for column in columns)
    for column in columns:
        if not column.n_most:
            continue
        if column.is_mask:
            yield from _idle_mask(column, columns)
        elif not column.may_repeat and column.dtype.kind in "fiu":
            yield from _constant(column, varies)


def _constant(column: Column, others_vary: bool) -> Iterator[Finding]:
    low, high = column.ends
    where = f"input {column.name!r}"
    is_id = bool(_ID_NAME.search(column.name.lower()))
    if low == high and (column.dtype.kind == "f" or is_id or not others_vary):
        yield Finding(
            "constant",
            f"{where} is {low:g} everywhere: no network tells anything on that; pass real samples",
        )
    elif column.dtype.kind != "f" or len(column.samples) < _MIN_TO_COMPARE or low == high:
        return
    elif column.is_repeated and others_vary:
        yield Finding(
            "constant",
            f"{where} is the same in all samples: the verdict says nothing about others; "
            "vary it as it varies in use",
        )
    elif not column.is_repeated and _hardly_differs(column):
        yield Finding(
            "alike",
            f"{where} differs by less than {_LEAST_VARIATION:.1%} from sample to sample: they count as "
            "one; pass different samples",
        )


def _hardly_differs(column: Column) -> bool:
    if len({sample.shape for sample in column.samples}) > 1:
        return False
    rows = np.stack(column.thinned())
    # Beside its own size an element is measured by what most are: features of many scales may lie here.
    if not np.isfinite(rows).all():
        return False  # a mask that is added, whatever its name
    sizes = np.maximum(np.abs(rows).mean(axis=0), np.median(np.abs(rows)))
    return bool((rows.std(axis=0) <= _LEAST_VARIATION * sizes).all())


def _idle_mask(column: Column, columns: list[Column]) -> Iterator[Finding]:
    lower = column.name.lower()
    n_samples = len(column.samples)
    n_hidden = sum(_hides_all(sample, lower) for sample in column.samples)
    if n_hidden > _MOST_ODD_ROWS * n_samples:
        yield Finding(
            "mask",
            f"input {column.name!r} hides everything in {n_hidden} of {n_samples} samples: "
            "is it turned round? pass the mask that the model is fed in use",
        )
    if not _SHOWING_MASK.search(lower) or column.dtype.kind not in "iub" or column.ends[0] != 1:
        return
    for other in columns:
        n_padded = 0 if other.is_mask or other.may_repeat else _n_padded(other)
        if n_padded > _MOST_ODD_ROWS * n_samples:
            yield Finding(
                "mask",
                f"input {column.name!r} hides nothing, but {other.name!r} ends or begins in padding in "
                f"{n_padded} of {n_samples} samples; pass the mask that belongs to it",
            )


def _hides_all(sample: Array, name: str) -> bool:
    """Whether a mask hides everything, as far as its name says what hides."""
    if not sample.size:
        return False
    if sample.dtype.kind == "f" and sample.min() < 0:
        return bool((sample <= _HIDDEN_SCORE).all())
    if _HIDING_MASK.search(name):
        return bool((sample == 1).all())
    return bool(_SHOWING_MASK.search(name)) and sample.dtype.kind in "iub" and not sample.any()


def _n_padded(column: Column) -> int:
    """Return how many rows of ids end, or begin, in several of one and the same id."""
    rows = [s for s in column.samples if s.ndim == 1 and s.size > _PADDING_LENGTH]
    if column.dtype.kind not in "iu" or len(rows) < len(column.samples):
        return 0
    return max(
        _n_alike([row[-_PADDING_LENGTH:] for row in rows]),
        _n_alike([row[:_PADDING_LENGTH] for row in rows]),
    )


def _n_alike(parts: list[Array]) -> int:
    """Return how many parts hold one value only, the one that most such parts hold."""
    single: NDArray[np.int64] = np.array([p[0] for p in parts if (p == p[0]).all()], np.int64)
    return int(np.unique(single, return_counts=True)[1].max()) if single.size else 0
