"""Mints names that no value or node of a model has."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable

from onnxzip.graph.reading.model import Model
from onnxzip.graph.reading.scope import iter_bodies

_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"
"""Of base 36: short, and no two letters differ in case only."""


class FreshNames:
    """Makes short new names; every node and value name of the file costs bytes several times."""

    def __init__(self, taken: Iterable[str]) -> None:
        self._taken = set(taken)
        self._count = 0

    def new(self, wish: str = "") -> str:
        """Return `wish` if it is free, else the wish with a number, else a short new name."""
        name = wish
        while not name or name in self._taken:
            name = f"{wish}_{_base36(self._count)}" if wish else f"z{_base36(self._count)}"
            self._count += 1
        self._taken.add(name)
        return name


_UNTELLABLE = re.compile(r'["\\\x00-\x1f]')
"""What onnxruntime does not escape in the JSON of its profiles."""


def with_node_names(model: Model) -> Model:
    """Return the model, or a copy in which every node has a name that no other one has.

    Names that are there stay, but those that several nodes have, or that no profile can tell.
    """
    bodies = list(iter_bodies(model.proto))
    counts = Counter(node.name for body in bodies for node in body.node)
    if all(name and n == 1 and not _UNTELLABLE.search(name) for name, n in counts.items()):
        return model
    named = model.copy()
    fresh = FreshNames(named.names())
    for body in iter_bodies(named.proto):
        for node in body.node:
            if not node.name or counts[node.name] > 1 or _UNTELLABLE.search(node.name):
                node.name = fresh.new(node.op_type)
    return named


def _base36(number: int) -> str:
    digits = _DIGITS[number % 36]
    while number >= 36:
        number //= 36
        digits = _DIGITS[number % 36] + digits
    return digits
