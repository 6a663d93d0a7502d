"""Coefficients of several weights that are alike, decoded together: one chain of nodes for all of them.

A network repeats its layers. A chain of nodes takes some 300 bytes in the file, as much as a small
layer's coefficients; the Split behind a common chain takes 4 bytes a weight at load.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from onnxzip.passbase import Builder
from onnxzip.records.payload import Coefficients
from onnxzip.transforms.moves import Move, Moves, Shape, shape_behind

_LARGEST = 1 << 16
"""Integers of a member: a chain takes as much in the file as is worth 500 KB at load (`code_plan`), the
moves of a stack as bytes up to 2 for each."""

_LARGEST_AS_FLOATS = 1 << 14
"""Integers of a member: from here on a Cast and a Mul of its own, some 80 bytes in the file, are worth
less than the 8 bytes for each that moving and parting floats takes."""

_LARGEST_STACK = 1 << 18
"""Integers: as floats they take 1 MiB, as much as a node may make of less (`nodes`)."""


@dataclass(frozen=True, eq=False)
class Stack:
    """Coefficients with equal shapes, equal shapes of steps, and equal moves.

    Attributes:
        members: at least one.
        own_moves: how each member's value is wanted.
    """

    members: tuple[Coefficients, ...]
    own_moves: Moves = ()

    @cached_property
    def integers(self) -> NDArray[np.signedinteger]:
        """The members' segments, one behind the other."""
        arrays = [member.integers for member in self.members]
        return arrays[0] if len(arrays) == 1 else np.concatenate(arrays)

    @property
    def view(self) -> Shape:
        """The shape of the integers that the steps broadcast to."""
        return self._stacked(self.members[0].view)

    @property
    def step_shape(self) -> Shape:
        """The shape of the steps: those of columns are products (`Coefficients.outer`)."""
        first = self.members[0]
        return self._stacked((() if first.outer is None else (len(first.outer),)) + first.steps.shape)

    @property
    def steps(self) -> NDArray[np.float32]:
        """The members' steps, or of products the inner factors, one behind the other."""
        return np.concatenate([member.steps for member in self.members])

    @property
    def outer(self) -> NDArray[np.float32] | None:
        """Of products the outer factors, one behind the other."""
        arrays = [member.outer for member in self.members if member.outer is not None]
        return np.concatenate(arrays) if arrays else None

    @property
    def is_parted_early(self) -> bool:
        """Whether the members are parted while they are integers."""
        return len(self.members) > 1 and self.members[0].integers.size >= _LARGEST_AS_FLOATS

    @property
    def first(self) -> Stack:
        """The first member alone."""
        return Stack(self.members[:1], self.own_moves)

    @property
    def moves(self) -> Moves:
        """From the view to the value: the members' values, one behind the other along the first axis."""
        first = self.members[0]
        own: Moves = (("reshape", first.integers.shape), *self.own_moves)
        return self.together(own, shape_behind(first.view, own))

    def together(self, moves: Moves, shape: Shape) -> Moves:
        """Return a member's moves, to `shape`, as those of the stack, to the members end to end."""
        if len(self.members) == 1:
            return moves
        stacked: list[Move] = [
            (kind, self._stacked(to) if kind == "reshape" else (0, *(axis + 1 for axis in to)))
            for kind, to in moves
        ]
        return (*stacked, ("reshape", (len(self.members) * shape[0], *shape[1:])))

    def _stacked(self, shape: Shape) -> Shape:
        return shape if len(self.members) == 1 else (len(self.members), *shape)

    def parted(
        self, value: str, shape: Shape, builder: Builder, dtype: type[np.generic] = np.float32
    ) -> list[str]:
        """Emit the members of a value that has them end to end, each of the given shape."""
        n = len(self.members)
        return [value] if n == 1 else builder.split(value, [shape] * n, dtype)


def find_stacks(
    items: Mapping[int, Coefficients],
    moves: Sequence[Moves],
    kind: Callable[[Coefficients], Hashable],
) -> list[tuple[list[int], Stack]]:
    """Return stacks and the numbers of their members, in the order of their first ones.

    Args:
        items: by number.
        moves: by number.
        kind: only coefficients of one kind are stacked.
    """
    groups: dict[Hashable, list[int]] = {}
    counts: dict[Hashable, int] = {}
    for i, item in items.items():
        shapes = (item.integers.shape, item.steps.shape, item.outer is not None and len(item.outer))
        key: Hashable = (shapes, moves[i], kind(item)) if item.integers.size < _LARGEST else i
        n_before = counts.get(key, 0)
        counts[key] = n_before + 1
        most = max(_LARGEST_STACK // max(item.integers.size, 1), 1)
        groups.setdefault((key, n_before // most), []).append(i)
    stacks = [Stack(tuple(items[i] for i in group), moves[group[0]]) for group in groups.values()]
    return list(zip(groups.values(), stacks, strict=True))
