"""All values of one input, sample by sample, and what its name says it is for."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from onnxzip.inputs.axes import STATE_NAME
from onnxzip.inputs.feedset import FeedSet
from onnxzip.records.aliases import Array

_MOST_VALUES, _MOST_TOGETHER, _FEWEST = 4096, 1 << 22, 64
"""Values that are looked at one by one: of a sample (a picture of 36 x 36 has fewer), of all samples
together, which take 32 MiB, and of each of very many samples none the less."""

_MASK_NAME = re.compile(r"mask")
_PLACE_NAME = re.compile(
    r"type|segment|pos|len|lang|speaker|task|start|bos|step|time|rate|scale|noise|coord|grid|freq"
)
"""What may be the same in every sample that a model is fed: guesses at what exporters call it."""


@dataclass(frozen=True, eq=False)
class Column:
    """All values of one input.

    Attributes:
        samples: one array a sample, in order; one a run where an input has no row for each sample.
        has_rows: whether there is one for each sample.
    """

    name: str
    samples: list[Array]
    has_rows: bool

    @property
    def dtype(self) -> np.dtype[np.generic]:
        """The dtype of all samples."""
        return self.samples[0].dtype

    @property
    def is_mask(self) -> bool:
        """Whether its name says that it hides or shows other inputs' elements."""
        return bool(_MASK_NAME.search(self.name.lower()))

    @property
    def may_repeat(self) -> bool:
        """Whether it may be the same in all samples: a mask, a state, a place, a scalar."""
        lower = self.name.lower()
        is_named = self.is_mask or STATE_NAME.search(lower) or _PLACE_NAME.search(lower)
        return bool(is_named) or not self.has_rows or self.n_most <= 1

    @cached_property
    def n_most(self) -> int:
        """Elements of the largest sample."""
        return max(sample.size for sample in self.samples)

    @cached_property
    def ends(self) -> tuple[float, float]:
        """The least and the largest value; only where there is any."""
        full = [sample for sample in self.samples if sample.size]
        return min(float(s.min()) for s in full), max(float(s.max()) for s in full)

    @cached_property
    def values(self) -> NDArray[np.float64]:
        """Some values of each sample, evenly spread, in a row."""
        return np.concatenate(self.thinned())

    def thinned(self) -> list[NDArray[np.float64]]:
        """Return some values of each sample, evenly spread; the same ones of samples of one shape."""
        return [thinned(sample, len(self.samples)) for sample in self.samples]

    @cached_property
    def is_repeated(self) -> bool:
        """Whether all samples are the first one."""
        return all(np.array_equal(sample, self.samples[0]) for sample in self.samples[1:])


def columns_of(feeds: FeedSet) -> list[Column]:
    """Return a column for each input that holds numbers."""
    columns: list[Column] = []
    for name in feeds.feeds[0]:
        samples: list[Array] = []
        has_rows = True
        for run, size in zip(feeds, feeds.sizes, strict=True):
            array = run[name]
            is_split = array.ndim > 0 and len(array) == size
            samples += list(array) if is_split else [array]
            has_rows &= is_split
        columns.append(Column(name, samples, has_rows))
    return columns


def thinned(sample: Array, n_samples: int) -> NDArray[np.float64]:
    """Return some values of one of so many samples, evenly spread.

    Steps are odd and no multiple of 3, so that all of 3 or 4 channels are seen.
    """
    n_values = min(_MOST_VALUES, max(_MOST_TOGETHER // n_samples, _FEWEST))
    flat = sample.reshape(-1)
    step = -(-flat.size // n_values) | 1
    return flat[:: step + 2 * (step % 3 == 0)].astype(np.float64)


def keys_of(columns: Sequence[Column], n_samples: int) -> list[bytes]:
    """Return a key for each sample that only its copies have, over all columns with rows."""
    rows = [column for column in columns if len(column.samples) == n_samples]
    keys: list[bytes] = []
    for index in range(n_samples):
        digest = hashlib.blake2b(digest_size=16)  # the samples themselves may fill the memory
        for column in rows:
            sample = np.ascontiguousarray(column.samples[index])
            digest.update(repr(sample.shape).encode())
            digest.update(repr(sample.tolist()).encode() if sample.dtype.hasobject else sample.tobytes())
        keys.append(digest.digest())
    return keys
