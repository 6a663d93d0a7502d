"""Draws the values of plain inputs: constants, ids, places, lengths, switches, numbers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeAlias

import numpy as np

from onnxzip.inputs.generated.sources.ids import DrawIds, put_ids
from onnxzip.inputs.generated.sources.masks import row_lengths, scale_factors
from onnxzip.records.aliases import Array

Draw: TypeAlias = Callable[[tuple[int, ...], int, np.random.Generator], Array]
"""Takes the shape of one run, the number of runs and a generator; returns (n_runs, *shape)."""

_CHANGE = 0.25
"""Deviation of what changes about what stays: joints, prices and weather stay where they are, mostly. A
guess."""

_SPREAD = 4.0
"""Samples of one family are up to this many times as large, or as small, as a deviation of 1."""


def constant(value: float) -> Draw:
    """Return what draws one number everywhere."""
    return lambda shape, n_runs, rng: np.full((n_runs, *shape), value)


def ids(legal: range, draw: DrawIds) -> Draw:
    """Return what draws ids of a range."""
    return lambda shape, n_runs, rng: draw(legal, (n_runs, *shape), rng)


def with_parts(draw: Draw, parts: Mapping[tuple[int, int], range], draw_ids: DrawIds) -> Draw:
    """Return what also puts ids where an input indexes tables of their own."""
    if not parts:
        return draw
    behind = {(axis + 1, place): ids for (axis, place), ids in parts.items()}
    return lambda shape, n_runs, rng: put_ids(draw(shape, n_runs, rng), behind, draw_ids, rng)


def between(low: float, high: float) -> Draw:
    """Return what draws numbers with a uniform logarithm."""
    return lambda shape, n_runs, rng: low * (high / low) ** rng.random((n_runs, *shape))


def places(length: int, ids: range | None) -> Draw:
    """Return what counts along the last axis, from the first id on."""
    rows = np.arange(length) if ids is None else ids.start + np.arange(length) % len(ids)
    return lambda shape, n_runs, rng: np.broadcast_to(rows, (n_runs, *shape))


def lengths(longest: int) -> Draw:
    """Return what draws the lengths that go with masks."""

    def draw(shape: tuple[int, ...], n_runs: int, rng: np.random.Generator) -> Array:
        n_rows = int(np.prod(shape))
        if n_rows == 1:  # of a batch that nothing pads
            return np.full((n_runs, *shape), longest)
        return row_lengths(n_runs * n_rows, longest).reshape(n_runs, *shape)

    return draw


def coins(shape: tuple[int, ...], n_runs: int, rng: np.random.Generator) -> Array:
    """Return True and False, either as often."""
    return np.asarray(rng.random((n_runs, *shape)) < 0.5)


def switches(shape: tuple[int, ...], n_runs: int, rng: np.random.Generator) -> Array:
    """Return on and off by turns: every branch gets its runs."""
    return np.broadcast_to((np.arange(n_runs) % 2 == 0).reshape(-1, *[1] * len(shape)), (n_runs, *shape))


def factors(shape: tuple[int, ...], n_runs: int, rng: np.random.Generator) -> Array:
    """Return scales, temperatures and the like."""
    return scale_factors((n_runs, *shape), rng)


def normal(shape: tuple[int, ...], n_runs: int, rng: np.random.Generator) -> Array:
    """Return numbers of mean 0 and deviation 1."""
    return rng.standard_normal((n_runs, *shape))


def around(shape: tuple[int, ...], n_runs: int, rng: np.random.Generator) -> Array:
    """Return small changes of one and the same point: what a state in use is like."""
    point = rng.standard_normal(shape[1:])
    return np.asarray(point + _CHANGE * rng.standard_normal((n_runs, *shape)))


def scaled(shape: tuple[int, ...], n_runs: int, rng: np.random.Generator) -> Array:
    """Return such numbers at several levels."""
    levels = _SPREAD ** rng.uniform(-1, 1, (n_runs, *shape[:1], *[1] * len(shape[1:])))
    return np.asarray(levels * rng.standard_normal((n_runs, *shape)))
