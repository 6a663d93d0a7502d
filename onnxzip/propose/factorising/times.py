"""How long chains take beside the nodes that they may stand for, each alone, in turns.

Layers of one shape in one surrounding are timed once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np

from onnxzip.graph import INPUT, Model, Site, lone_node
from onnxzip.measure.speed.stopwatch import Stopwatch
from onnxzip.propose.factorising.options import Option, sample_chain
from onnxzip.records.aliases import Array, RunForm
from onnxzip.records.costs.latency import Latency
from onnxzip.records.layer import Layer
from onnxzip.runtime.timing.ratio import ratio_of
from onnxzip.runtime.timing.rounds import Patience

TimeModels: TypeAlias = Callable[[Sequence[Model], Array], Sequence[Latency]]
"""Times lone nodes that are fed with an array."""

_SECONDS_EACH = 0.1
"""That a chain is timed for, at most: 100 rounds of a kernel of a millisecond."""

_PRECISION = 0.02
"""Half the width of a ratio's interval that is enough to tell 0.9 from 1."""


@dataclass(frozen=True)
class Place:
    """Where a layer is used: a site, and the shape of what it is fed with there."""

    site: Site
    shape: tuple[int, ...]

    @property
    def key(self) -> tuple[object, ...]:
        """What a kernel's time depends on."""
        return self.site.has_bias, self.site.is_rectified, self.shape


@dataclass(frozen=True)
class Time:
    """How long all nodes of a layer take with an option.

    Attributes:
        seconds: in all its places together.
        ratio: the time divided by that of the layer's own nodes.
        highest: upper end of the ratio's 95 % interval.
    """

    seconds: float
    ratio: float = 1.0
    highest: float = 1.0


class OptionTimes:
    """Times options of layers; remembers what it has timed.

    Args:
        time: times models.
    """

    def __init__(self, time: TimeModels) -> None:
        """See the class."""
        self._time = time
        self._known: dict[tuple[object, ...], dict[Option | None, Time]] = {}

    def of(
        self, layer: Layer, places: Sequence[Place], form: RunForm, options: Sequence[Option]
    ) -> Mapping[Option | None, Time]:
        """Return the time of each option, and under None that of the layer's own nodes."""
        attributes = tuple(sorted(layer.attributes.items()))
        counts = Counter(place.key for place in places)
        key = (layer.op_type, layer.weight.shape, attributes, form, frozenset(counts.items()))
        if key not in self._known:
            self._known[key] = self._measure(layer, places, form, options)
        return self._known[key]

    def _measure(
        self, layer: Layer, places: Sequence[Place], form: RunForm, options: Sequence[Option]
    ) -> dict[Option | None, Time]:
        chains = [None, *(sample_chain(layer, option) for option in (None, *options))]
        seconds, highest = np.zeros(len(options) + 1), np.zeros(len(options) + 1)
        distinct = {place.key: place for place in places}
        for key, n_places in Counter(place.key for place in places).items():
            place = distinct[key]
            fed = _numbers(place.shape, form, layer.weight.dtype)
            idle, *latencies = self._time([lone_node(c, place.site, fed, form) for c in chains], fed)
            own, *others = (_without(latency, idle.median) for latency in latencies)
            seconds += [n_places * latency.median for latency in (own, *others)]
            highs = [ratio_of(own, other).high for other in others]
            highest += n_places * own.median * np.array([1.0, *highs])
        return {
            option: Time(float(s), float(s / seconds[0]), float(h / seconds[0]))
            for option, s, h in zip((None, *options), seconds, highest, strict=True)
        }


_LEAST_SECONDS = 1e-7
"""What is left of the time of a node that takes no longer than a session that computes nothing."""


def _without(latency: Latency, idle: float) -> Latency:
    """Return what runs take beyond the call of a session, which nodes of a larger model share."""
    return Latency(tuple(max(seconds - idle, _LEAST_SECONDS) for seconds in latency.seconds))


def timer_for(stopwatch: Stopwatch) -> TimeModels:
    """Return what times models with a stopwatch's threads and provider."""

    def time(models: Sequence[Model], fed: Array) -> Sequence[Latency]:
        patience = Patience(seconds=_SECONDS_EACH * len(models), precision=_PRECISION)
        return replace(stopwatch, feeds=({INPUT: fed},)).latencies(models, patience)

    return time


def _numbers(shape: tuple[int, ...], form: RunForm, dtype: np.dtype[np.generic]) -> Array:
    """Return what a lone node is fed with."""
    rng = np.random.default_rng(0)
    if form == "int8":
        return rng.integers(0, 256, shape, np.uint8)
    return rng.standard_normal(shape).astype(dtype)
