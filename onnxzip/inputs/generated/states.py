"""Recurrent states and caches, made by running the model on itself, step by step.

What a model hands to its next step (`h` and `hn`, `past.0.key` and `present.0.key`) is no noise: only
states that it came to by itself are like those it meets in use.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from difflib import SequenceMatcher
from typing import TypeAlias

import numpy as np

from onnxzip.inputs.axes import STATE_NAME
from onnxzip.inputs.feedset import steps
from onnxzip.records.aliases import Array, Feeds
from onnxzip.runtime.input_spec import InputSpec

_MAX_STEPS = 32
"""Steps before a new start from zeros, of another recording: between the first steps, which every use
has, and later ones. silero-vad's answers vary as much within 16 steps of 32 ms as within 64."""

_N_SEQUENCES = 4
"""Starts at least, so that what follows one of them can be held out."""

_DIRECTION = re.compile(
    r"(^|[^a-z])(in|inp|input|prev|previous|past|old|init|initial|out|output|next|new|present|updated)"
    r"(?=[^a-z]|$)|(?<=[a-z])n$|_?(in|out)$"
)
"""What tells the two ends of a state apart in their names."""

_ALIKE = 0.6
"""Share of two names that must be the same, once their directions are left out: difflib's own advice for
a good match."""


_Way: TypeAlias = tuple[float, dict[str, str]]
"""What speaks for some pairs, and these."""

_MATCH = 1e3
"""What a pair counts, so that there are as many as fit: more than all that tells pairs apart."""


def pair_states(inputs: Sequence[InputSpec], outputs: Sequence[InputSpec]) -> dict[str, str]:
    """Return, for each input that is a state, the output that it comes from at the next step.

    Types and shapes must fit. Of outputs that do, the one with the most similar name is taken; where no
    name is alike, inputs that are called a state take those of the others that come in the same order.

    Args:
        inputs: graph inputs.
        outputs: graph outputs.
    """
    pairs: dict[str, str] = {}
    free = list(outputs)
    for spec in inputs:
        fitting = [other for other in free if _fits(spec, other)]
        scores = [_likeness(spec.name, other.name) for other in fitting]
        best = max(range(len(fitting)), key=lambda i: scores[i], default=None)
        if best is None or scores[best] < _ALIKE:
            continue
        has_direction = _core(spec.name) != spec.name.lower() and spec.name != fitting[best].name
        if _is_state(spec) or (has_direction and scores[best] == 1.0):
            pairs[spec.name] = fitting[best].name
            free.remove(fitting[best])
    others = [spec for spec in inputs if _is_state(spec) and spec.shape and spec.name not in pairs]
    return {**pairs, **_in_order(others, free)}


def _is_state(spec: InputSpec) -> bool:
    """Whether an input or output is called a state."""
    return bool(STATE_NAME.search(spec.name.lower()))


def _in_order(states: Sequence[InputSpec], outputs: Sequence[InputSpec]) -> dict[str, str]:
    """Pair states with outputs of the same order: as many as fit, and of those the likeliest.

    Answers come before states as a rule: where nothing else tells, the later outputs are taken.
    """
    best: dict[tuple[int, int], _Way] = {}
    for i in range(len(states), -1, -1):
        for j in range(len(outputs), -1, -1):
            ways: list[_Way] = [(0.0, {})] if len(states) == i or len(outputs) == j else []
            if not ways:
                ways = [best[i, j + 1], best[i + 1, j]]
                if _fits(states[i], outputs[j]):
                    score, pairs = best[i + 1, j + 1]
                    score += _MATCH + _plausibility(states[i], outputs[j])
                    ways.append((score, {states[i].name: outputs[j].name, **pairs}))
            best[i, j] = max(ways, key=lambda way: way[0])
    return best[0, 0][1]


def _plausibility(spec: InputSpec, output: InputSpec) -> float:
    """Return what speaks for an output's being a state, beyond that it fits: below `_MATCH` for all."""
    kind, other = (re.sub(r"\d+", "", _core(name)) for name in (spec.name, output.name))
    is_exact = spec.shape == output.shape
    return is_exact + _is_state(output) / 2 + SequenceMatcher(None, kind, other).ratio() / 4


def n_steps_of(n_runs: int) -> int:
    """Return how many runs in a row hand their states on."""
    return min(max(n_runs // _N_SEQUENCES, 1), _MAX_STEPS)


def with_own_states(
    feeds: Sequence[Feeds], pairs: Mapping[str, str], run: Callable[[Feeds], dict[str, Array]]
) -> list[Feeds]:
    """Return the feeds with the states that the model comes to, from zeros, every few runs anew.

    Args:
        feeds: inputs of all runs, in order.
        pairs: outputs that become states, by input name.
        run: runs the model.
    """
    started = [{**feed, **{name: np.zeros_like(feed[name]) for name in pairs}} for feed in feeds]
    return [fed for fed, _ in steps(started, pairs, n_steps_of(len(feeds)), run)]


def _fits(spec: InputSpec, output: InputSpec) -> bool:
    """Whether an output can be fed to an input, by its type and shape."""
    if spec.dtype != output.dtype:
        return False
    if spec.shape and output.shape and len(spec.shape) != len(output.shape):
        return False
    if not spec.shape:
        return _is_state(spec)
    sizes = zip(spec.shape, output.shape, strict=False)
    return all(a == b or not (isinstance(a, int) and isinstance(b, int)) for a, b in sizes)


def _likeness(name: str, other: str) -> float:
    """Return how alike two names are, 0 ... 1, their directions left out; 0 for different numbers."""
    a, b = _core(name), _core(other)
    if not (a and b):  # "input" and "output" are the ends of everything
        return 0.0
    if re.findall(r"\d+", a) != re.findall(r"\d+", b):
        return 0.0
    return 1.0 if a == b else SequenceMatcher(None, a, b).ratio()


def _core(name: str) -> str:
    return _DIRECTION.sub("", name.lower()).strip("._/-")
