"""What is odd about the user's calibration data: one line a finding, with the likely mend.

A verdict is a statement about the data it was made on. Data that cannot be what the model will meet (one
picture again and again, zeros, pixels of 0 ... 255 for a network of normalised ones) make a verdict that
says nothing, so they are looked at before anything is fitted to them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from onnxzip.inputs.feedset import MIN_RUNS_TO_HOLD_OUT, MIN_TO_HOLD_OUT, FeedSet
from onnxzip.inputs.given.columns import Column, columns_of, keys_of
from onnxzip.inputs.given.constants import constant_inputs
from onnxzip.inputs.given.ranges import odd_range
from onnxzip.records.finding import Finding
from onnxzip.records.input_scaling import InputScaling

_MOST_COPIES = 0.1
"""Share of samples that are copies of others from which on it is told: some repeat in real data too."""

_MOST_HELD_COPIES = 0.05
"""Share of all samples that are held out and copies of what is fitted to: where a twentieth of real data
repeats, no more than that can be."""


def look_at(
    feeds: FeedSet, scalings: Mapping[str, InputScaling] | None = None, *, fits: bool = True
) -> list[Finding]:
    """Return what is odd about the user's data, before anything is fitted to them.

    Args:
        feeds: the user's data, cut into runs.
        scalings: by input name, what the model does first to its values (`graph.first_scalings`).
        fits: whether something is going to be fitted to the data, and some must be held out.
    """
    columns = columns_of(feeds)
    found = list(_too_few(feeds)) if fits else []
    found += _copies(columns, feeds, fits)
    found += constant_inputs(columns)
    for column in columns:
        if column.n_most and column.dtype.kind == "f":
            found += odd_range(column, (scalings or {}).get(column.name))
    return found


def _too_few(feeds: FeedSet) -> Iterator[Finding]:
    n_samples, n_runs = feeds.n_samples, len(feeds)
    if n_samples == 1:
        yield Finding(
            "single sample",
            "1 sample only: what holds for it may hold for no other, and a mean over samples has none; "
            f"pass {MIN_TO_HOLD_OUT} or more different ones",
        )
    elif n_samples < MIN_TO_HOLD_OUT:
        yield Finding(
            "few samples",
            f"{n_samples} samples only: they are fitted to and judged on alike; "
            f"pass {MIN_TO_HOLD_OUT} or more, and some are held out",
        )
    elif n_runs < MIN_RUNS_TO_HOLD_OUT:
        yield Finding(
            "few runs",
            f"{n_samples} samples come in {n_runs} run{'s' * (n_runs > 1)}, so that none can be held "
            f"out; pass them as one array for each input, or in {MIN_RUNS_TO_HOLD_OUT} batches or more",
        )


def _copies(columns: list[Column], feeds: FeedSet, fits: bool) -> Iterator[Finding]:
    """Tell samples that are copies of others in all inputs."""
    n_samples = max(len(column.samples) for column in columns)
    if n_samples < 2:
        return
    keys = keys_of(columns, n_samples)
    n_copies = n_samples - len(set(keys))
    if n_copies > _MOST_COPIES * n_samples:
        yield Finding(
            "copies",
            f"{n_copies} of {n_samples} samples are copies of others: the verdict counts them as if "
            "they were new, also across the held-out runs; pass different samples",
        )
        return
    parts = feeds.hold_out() if fits and n_samples == feeds.n_samples else None
    if parts is None:
        return
    fitted = {key for key, is_held in zip(keys, parts[2], strict=True) if not is_held}
    n_known = sum(key in fitted for key, is_held in zip(keys, parts[2], strict=True) if is_held)
    if n_known > _MOST_HELD_COPIES * n_samples:
        yield Finding(
            "copies",
            f"{n_known} of {np.count_nonzero(parts[2])} held-out samples are copies of some that are "
            "fitted to: the verdict is milder than one on new samples; pass each sample once",
        )
