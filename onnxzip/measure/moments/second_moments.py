"""Measures what each layer meets: the second moment of its input, or how often its rows are read.

The values that weights meet become outputs of a copy of the model, which runs on the calibration data
batch by batch; only the moments, (n_columns, n_columns) each, are kept. A large run contributes vectors
at random places of its output, so that the cost is bounded whatever the number and size of the samples.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from onnxzip.codec.feedback import MAX_COLUMNS
from onnxzip.errors import CalibrationError, ModelError, ProviderError
from onnxzip.graph import (
    Model,
    find_operands,
    loadable,
    release_pages,
    share_with_disk,
    with_operand_outputs,
)
from onnxzip.inputs.feedset import FeedSet
from onnxzip.measure.moments.damping import SPATIAL_DAMPING, damped, noise_share
from onnxzip.measure.moments.sampled_columns import ColumnView, OuterSum, draw, is_finite, n_wanted
from onnxzip.measure.moments.value_groups import ValueGroups
from onnxzip.records.aliases import Array
from onnxzip.records.elements.exact import is_exact
from onnxzip.records.layer import MAX_EXPONENT, Layer, Statistics
from onnxzip.records.plan import Skip
from onnxzip.runtime.session import Session, open_session

_UNREAD_SHARE = 0.5
"""Share of the row weights that all rows of a table have alike: other inputs will read other rows."""

ShowFraction = Callable[[float], None]


@dataclass(frozen=True, eq=False)
class LayerStatistics:
    """What was measured, by layer name.

    Attributes:
        statistics: of layers whose columns are multiplied.
        row_weights: of tables whose rows are read; see `Layer.row_weights`.
    """

    statistics: Mapping[str, Statistics] = field(default_factory=dict)
    row_weights: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)

    def attach(self, layer: Layer) -> Layer:
        """Return the layer with what was measured for it.

        No second moment where its product with the squared weights could leave float32.
        """
        found, weights = self.statistics.get(layer.name), self.row_weights.get(layer.name)
        if found is not None and not _is_ordinary(layer, found):
            found = None
        return replace(layer, statistics=found, row_weights=weights)


def _is_ordinary(layer: Layer, found: Statistics) -> bool:
    peak = float(max(layer.weight.max(initial=0), -layer.weight.min(initial=0)))
    level = float(np.diag(found.second_moment).max())
    return all(2.0**-MAX_EXPONENT < x < 2.0**MAX_EXPONENT for x in (peak, peak * level**0.5))


def collect_statistics(
    model: Model, layers: Sequence[Layer], feeds: FeedSet, custom_ops: Path | None, show: ShowFraction
) -> tuple[LayerStatistics, list[Skip]]:
    """Measure what all layers that have operands meet.

    Args:
        model: the (folded) model.
        layers: its layers.
        feeds: what to run on.
        custom_ops: shared library of custom operators.
        show: called with the fraction done.

    Returns:
        What was measured, and why there is nothing at all where the model cannot be exposed. Generated
        inputs tell nothing about which channels of a layer go together, and errors that are moved to
        where they hide them cost accuracy on real inputs (resnet20: 6.6 points). But they do tell how
        much alike the neighbours in a channel are: that alone is taken from them, the mean of all
        channels.
    """
    sources = _find_sources(model, layers)
    if not feeds.is_like_real:
        sources = {name: found for name, found in sources.items() if all(map(_is_spatial, found))}
    wanted = list(dict.fromkeys(source for found in sources.values() for source in found))
    if not wanted:
        return LayerStatistics(), []
    exposed, names = with_operand_outputs(model, [source.operand for source in wanted])
    try:
        with open_session(loadable(exposed), custom_ops=custom_ops) as session:
            release_pages(model.arrays.values())
            sums = _measure(session, wanted, names, feeds, show)
    except (ModelError, ProviderError, CalibrationError) as error:
        return LayerStatistics(), [Skip("graph", "statistics", f"no input statistics: {error}")]
    statistics: dict[str, Statistics] = {}
    row_weights: dict[str, NDArray[np.float32]] = {}
    for name, found in sources.items():
        totals = [sums[source] for source in found]
        reads = [total for total in totals if isinstance(total, _Reads)]
        if reads:
            row_weights[name] = _weigh(reads)
        elif (combined := _combine([t for t in totals if isinstance(t, _MomentSum)])) is not None:
            statistics[name] = combined
    return LayerStatistics(on_disk(statistics), row_weights), []


def on_disk(statistics: Mapping[str, Statistics]) -> dict[str, Statistics]:
    """Move the moments to a temporary file: together they may take as much as the model."""
    views = share_with_disk([found.second_moment for found in statistics.values()])
    return {
        name: replace(found, second_moment=view)
        for (name, found), view in zip(statistics.items(), views, strict=True)
    }


def _find_sources(model: Model, layers: Sequence[Layer]) -> dict[str, list[ColumnView]]:
    operands = find_operands(model, [la for la in layers if not is_exact(la.weight.dtype)])
    sources: dict[str, list[ColumnView]] = {}
    for layer in layers:
        _, _, n_inner, spatial = layer.sizes
        n_columns = n_inner * int(np.prod(spatial))
        found = operands.get(layer.name, [])
        if found and all(operand.op_type == "Gather" for operand in found):
            sources[layer.name] = [ColumnView(operand, (), layer.weight.shape[0]) for operand in found]
        elif (
            found
            and all(operand.op_type != "Gather" for operand in found)
            and 1 < n_columns <= MAX_COLUMNS
        ):
            sources[layer.name] = [ColumnView(operand, spatial, n_columns) for operand in found]
    return sources


def _is_spatial(source: ColumnView) -> bool:
    """Whether a weight has kernels of more than one position."""
    return int(np.prod(source.kernel)) > 1


class _MomentSum:
    """A sum of outer products of a weight's vectors, or of those of each channel."""

    def __init__(self, source: ColumnView, by_channel: bool) -> None:
        self._n_columns = source.n_columns
        self._n_together = int(np.prod(source.kernel)) if by_channel else source.n_columns
        self.by_channel = by_channel
        self.sum = OuterSum(self._n_together)

    @property
    def n_blocks(self) -> int:
        return self._n_columns // self._n_together

    def add(self, vectors: NDArray[np.float32]) -> None:
        if vectors.shape[1] == self._n_columns and is_finite(vectors):
            self.sum.add(vectors.reshape(-1, self._n_together))


class _Reads:
    """A count of the rows that a Gather reads."""

    def __init__(self, n_rows: int) -> None:
        self.counts = np.zeros(n_rows, np.int64)

    def add(self, indices: Array) -> None:
        rows = indices.ravel().astype(np.int64) % len(self.counts)
        self.counts += np.bincount(rows, minlength=len(self.counts))


def _weigh(reads: Sequence[_Reads]) -> NDArray[np.float32]:
    """Return how often each row is read, with a mean of 1, mixed with what all rows have alike."""
    counts = np.sum([read.counts for read in reads], axis=0).astype(np.float64)
    share = counts / max(counts.mean(), 1e-9)
    weights: NDArray[np.float32] = ((1 - _UNREAD_SHARE) * share + _UNREAD_SHARE).astype(np.float32)
    weights.flags.writeable = False
    return weights


def _measure(
    session: Session,
    sources: Sequence[ColumnView],
    names: Mapping[str, str],
    feeds: FeedSet,
    show: ShowFraction,
) -> dict[ColumnView, _MomentSum | _Reads]:
    sums: dict[ColumnView, _MomentSum | _Reads] = {
        s: _Reads(s.n_columns)
        if s.operand.op_type == "Gather"
        else _MomentSum(s, not feeds.is_like_real)
        for s in sources
    }
    groups = ValueGroups(session, list(names.values()))
    for i_run, run in enumerate(feeds):
        for values in chain([run], groups.run(run)):
            for i, source in enumerate(sources):
                array = values.get(names.get(source.operand.value, source.operand.value))
                total = sums[source]
                if array is None:
                    continue
                if isinstance(total, _Reads):
                    total.add(array)
                elif array.dtype.kind in "fV":
                    rng = np.random.default_rng((i_run, i))
                    total.add(draw(source, array, n_wanted(source.n_columns, len(feeds)), rng).columns)
        show((i_run + 1) / len(feeds))
    return sums


def _combine(sums: Sequence[_MomentSum]) -> Statistics | None:
    """Average and damp the sums of all nodes that read a weight; None where nothing was seen."""
    n_vectors = sum(moment.sum.n_vectors for moment in sums)
    if not n_vectors:
        return None
    total = sums[0].sum.total()
    for moment in sums[1:]:
        total += moment.sum.total()
    total *= np.float32(1 / n_vectors)
    if sums[0].by_channel:
        found = damped(total, n_vectors, SPATIAL_DAMPING)
        return found and replace(found, n_blocks=sums[0].n_blocks)
    fourth = sum(moment.sum.fourth for moment in sums) / n_vectors
    return damped(total, n_vectors, noise_share(total, n_vectors, fourth))
