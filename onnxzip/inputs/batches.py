"""Inputs for runs of one size: as many samples in each as a model is to be timed with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from onnxzip.errors import UsageError
from onnxzip.inputs.axes import batch_axes, fixed_batch
from onnxzip.records.aliases import Feeds
from onnxzip.runtime.input_spec import InputSpec


def with_batch(
    feeds: Sequence[Feeds], inputs: Sequence[InputSpec], batch: int | None, source: str
) -> tuple[list[Feeds], int | None]:
    """Return feeds whose runs all have so many samples: the first ones of a run, or repeated ones.

    Args:
        feeds: one mapping of input name to array per run.
        inputs: graph inputs.
        batch: samples in a run; None for 1, or as many as the model is fixed to.
        source: what the model is called in messages.

    Returns:
        The feeds, and how many samples each has; None where no axis of the inputs counts them.

    Raises:
        UsageError: the model takes another number of samples.
    """
    fed = [spec for spec in inputs if spec.name in feeds[0]]
    axes = batch_axes(fed)
    if axes:
        n_samples = batch or 1
        return [_of_size(feed, axes, n_samples) for feed in feeds], n_samples
    check_batch(fed, batch, source)
    return list(feeds), fixed_batch(fed)


def check_batch(inputs: Sequence[InputSpec], batch: int | None, source: str) -> None:
    """Refuse a number of samples that inputs cannot have.

    Args:
        inputs: all that are fed.
        batch: samples in a run; None for any.
        source: what the model is called in messages.

    Raises:
        UsageError: the model takes another number of samples.
    """
    n_fixed = fixed_batch(inputs)
    if batch not in (None, n_fixed) and not batch_axes(inputs):
        raise UsageError(
            f"`batch` {batch}: {source} {_described(n_fixed)}; leave it out, or export the model with a "
            "free batch axis"
        )


def sized_shapes(feeds: Feeds, inputs: Sequence[InputSpec], batch: int) -> dict[str, tuple[int, ...]]:
    """Return the shapes that `with_batch` would give the inputs of a run, by name."""
    axes = batch_axes([spec for spec in inputs if spec.name in feeds])
    shapes = {name: list(array.shape) for name, array in feeds.items()}
    for name, axis in axes.items():
        if shapes[name][axis]:
            shapes[name][axis] = batch
    return {name: tuple(shape) for name, shape in shapes.items()}


def _of_size(feeds: Feeds, axes: Mapping[str, int], n_samples: int) -> Feeds:
    sized = dict(feeds)
    for name, axis in axes.items():
        n_given = feeds[name].shape[axis]
        if n_given:  # of nothing there is nothing to repeat
            sized[name] = np.take(feeds[name], np.arange(n_samples) % n_given, axis)
    return sized


def _described(n_fixed: int | None) -> str:
    if n_fixed is None:
        return "has no axis that counts samples"
    return f"is fixed to {n_fixed} sample{'s' * (n_fixed != 1)} a run"
