"""What is odd about the user's calibration data: one line a finding, with the likely mend.

A verdict is a statement about the data it was made on. Data that cannot be what the model will meet (one
picture again and again, zeros, pixels of 0 ... 255 for a network of normalised ones) make a verdict that
says nothing, so they are looked at before anything is fitted to them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from onnxzip.inputs.axes import channel_axis
from onnxzip.inputs.feedset import FeedSet
from onnxzip.records.aliases import Array
from onnxzip.records.finding import Finding

_MOST_COPIES = 0.1
"""Share of samples that are copies of others from which on it is told: some repeat in real data too."""

_FEW_SAMPLES = 64
"""Below it nothing is held out (`FeedSet.hold_out`): the verdict is on the very samples fitted to."""

_PIXEL_PEAK, _LEAST_PIXEL_PEAK = 255.0, 16.0
"""Largest values of raw pictures of 8 bits: 255, and rarely below 16. Pictures normalised by a mean and
a deviation, ImageNet's say, stay below 3."""

_LEAST_PIXEL_MEAN = 2.0
"""Mean above which such values are no sparse counts or one-hot codes."""


@dataclass(frozen=True, eq=False)
class _Column:
    """All values of one input.

    Attributes:
        samples: one array a sample, in order; one a run where an input has no row for each sample.
    """

    name: str
    samples: list[Array]

    @property
    def dtype(self) -> np.dtype[np.generic]:
        return self.samples[0].dtype


def look_at(feeds: FeedSet) -> list[Finding]:
    """Return what is odd about the user's data, before anything is fitted to them.

    Args:
        feeds: the user's data, cut into runs.
    """
    found: list[Finding] = []
    if feeds.n_samples < _FEW_SAMPLES:
        found.append(
            Finding(
                "few samples",
                f"{feeds.n_samples} samples only: they are fitted to and judged on alike; "
                f"pass {_FEW_SAMPLES} or more, and some are held out",
            )
        )
    columns = _columns(feeds)
    found += _copies(columns)
    for column in columns:
        found += _oddities(column)
    return found


def _columns(feeds: FeedSet) -> list[_Column]:
    columns: list[_Column] = []
    for name in feeds.feeds[0]:
        samples: list[Array] = []
        for run, size in zip(feeds, feeds.sizes, strict=True):
            array = run[name]
            has_rows = array.ndim > 0 and len(array) == size
            samples += list(array) if has_rows else [array]
        columns.append(_Column(name, samples))
    return columns


def _copies(columns: list[_Column]) -> Iterator[Finding]:
    """Tell samples that are copies of others in all inputs."""
    n_samples = max(len(column.samples) for column in columns)
    rows = [column for column in columns if len(column.samples) == n_samples]
    if n_samples < 2:
        return
    distinct = {
        tuple(np.ascontiguousarray(column.samples[i]).tobytes() for column in rows)
        for i in range(n_samples)
    }
    n_copies = n_samples - len(distinct)
    if n_copies > _MOST_COPIES * n_samples:
        yield Finding(
            "copies",
            f"{n_copies} of {n_samples} samples are copies of others: the verdict counts them as if "
            "they were new, also across the held-out runs; pass different samples",
        )


def _oddities(column: _Column) -> Iterator[Finding]:
    sizes = {sample.size for sample in column.samples}
    if not any(sizes) or column.dtype.kind not in "fiu":
        return
    values = np.concatenate([_thinned(sample) for sample in column.samples])
    low, high = float(values.min()), float(values.max())
    where = f"input {column.name!r}"
    if low == high and max(sizes) > 1 and column.dtype.kind == "f":
        yield Finding(
            "constant",
            f"{where} is {low:g} everywhere: no network tells anything on that; pass real samples",
        )
    elif _are_pixels(column, values, low, high):
        yield Finding(
            "range",
            f"{where} has values from {low:g} to {high:g}: does the model expect 0 ... 1 or normalised "
            "values? feed what it is fed in use",
        )


def _are_pixels(column: _Column, values: NDArray[np.float64], low: float, high: float) -> bool:
    """Whether a float input is a picture in 0 ... 255."""
    shape = (1, *column.samples[0].shape)
    is_image = column.dtype.kind == "f" and channel_axis(shape) is not None
    is_in_range = low >= 0 and _LEAST_PIXEL_PEAK < high <= _PIXEL_PEAK
    return is_image and is_in_range and float(values.mean()) > _LEAST_PIXEL_MEAN


def _thinned(sample: Array, n_most: int = 4096) -> NDArray[np.float64]:
    """Return at most so many values of a sample, evenly spread."""
    flat = sample.reshape(-1)
    return flat[:: max(1, flat.size // n_most)].astype(np.float64)
