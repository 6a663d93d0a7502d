"""Reshapes and transpositions of an array, one behind the other, and what they amount to."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from math import prod
from operator import mul
from typing import Literal, TypeAlias

from onnxzip.records.aliases import Array

Shape: TypeAlias = tuple[int, ...]

Move: TypeAlias = tuple[Literal["reshape", "transpose"], Shape]
"""("reshape", new shape), or ("transpose", for each new axis the old one)."""

Moves: TypeAlias = tuple[Move, ...]


def moved_shape(shape: Shape, move: Move) -> Shape:
    """Return the shape behind a move."""
    kind, argument = move
    return argument if kind == "reshape" else tuple(shape[axis] for axis in argument)


def shape_behind(shape: Shape, moves: Moves) -> Shape:
    """Return the shape behind all moves."""
    for move in moves:
        shape = moved_shape(shape, move)
    return shape


def moved(array: Array, moves: Moves) -> Array:
    """Return the array behind all moves."""
    for kind, argument in moves:
        array = array.reshape(argument) if kind == "reshape" else array.transpose(argument)
    return array


def simplified(shape: Shape, moves: Moves) -> Moves:
    """Return as few moves as possible that do the same to arrays of a shape."""
    found: list[Move] = []
    for kind, argument in moves:
        if found and found[-1][0] == kind == "reshape":
            found.pop()
        elif found and found[-1][0] == kind == "transpose":
            earlier = found.pop()[1]
            argument = tuple(earlier[axis] for axis in argument)
        if kind == "reshape" or argument != tuple(range(len(argument))):
            found.append((kind, argument))
        if [kind for kind, _ in found[-3:]] == ["reshape", "transpose", "reshape"]:
            found[-3:] = _without_last(found[-3][1], found[-2][1], found[-1][1])
    if found and found[0] == ("reshape", shape):
        found.pop(0)
    return tuple(found)


def _without_last(first: Shape, axes: Shape, last: Shape) -> list[Move]:
    """Return moves that do the same as a reshape to `first`, a transposition, and one to `last`.

    Two are enough where each axis in the end is a part of one before, or of some that stay neighbours.
    """
    places = [(axis,) for axis in axes]
    sizes: dict[int, Shape] = {}
    order: list[int] = []
    start = 0
    for n_old, new in _blocks(tuple(first[axis] for axis in axes), last):
        old = [axis for place in places[start : start + n_old] for axis in place]
        if any(b != a + 1 for a, b in pairwise(old)):
            return [("reshape", first), ("transpose", axes), ("reshape", last)]
        start += n_old
        if new:
            order.append(old[0] if old else len(first))
            sizes[order[-1]] = new
    if len(sizes) < len(order):
        return [("reshape", first), ("transpose", axes), ("reshape", last)]
    starts: dict[int, int] = {}
    shape: Shape = ()
    for axis in sorted(sizes):
        starts[axis] = len(shape)
        shape += sizes[axis]
    perm = tuple(starts[axis] + i for axis in order for i in range(len(sizes[axis])))
    if perm == tuple(range(len(perm))):
        return [("reshape", last)]
    return [("reshape", shape), ("transpose", perm)]


def _blocks(old: Shape, new: Shape) -> Iterator[tuple[int, Shape]]:
    """Cut two shapes of one size into the smallest runs of axes that have as many elements.

    Yields:
        How many old axes, and the new ones' sizes.
    """
    i = j = 0
    while i < len(old) or j < len(new):
        start_i, start_j = i, j
        if i < len(old):
            i += 1
        if j < len(new):
            j += 1
        while prod(old[start_i:i]) != prod(new[start_j:j]):
            if prod(old[start_i:i]) < prod(new[start_j:j]):
                i += 1
            else:
                j += 1
            if i > len(old) or j > len(new):
                raise ValueError(f"shapes {old} and {new} have different sizes")
        yield i - start_i, new[start_j:j]


@dataclass(frozen=True)
class Place:
    """Where an array and the factors that it is multiplied by stand behind some moves.

    Attributes:
        axes: of the array; each is made of one or more finer ones, which only a reshape joins.
        factors: likewise, for each finer axis its size, or 1 where a factor is the same all along it.
    """

    axes: tuple[Shape, ...]
    factors: tuple[Shape, ...]

    @property
    def shape(self) -> Shape:
        """The array's shape."""
        return tuple(prod(axis) for axis in self.axes)

    @property
    def fine_shape(self) -> Shape:
        """The array's shape by finer axes; the factors broadcast to it."""
        return tuple(size for axis in self.axes for size in axis)

    @property
    def factor_shape(self) -> Shape:
        """The factors' shape."""
        return tuple(size for axis in self.factors for size in axis)

    def behind(self, move: Move) -> Place | None:
        """Return the place behind a move; None where it parts factors from what they belong to."""
        kind, argument = move
        if kind == "transpose":
            return Place(*(tuple(which[a] for a in argument) for which in (self.axes, self.factors)))
        axes: list[Shape] = []
        factors: list[Shape] = []
        start = 0
        fine, fine_factors = _cut_at(self.fine_shape, self.factor_shape, argument)
        for n_old, new in _blocks(fine, argument):
            old, own = (sizes[start : start + n_old] for sizes in (fine, fine_factors))
            start += n_old
            if prod(own) in (1, prod(old)):
                axes += [(size,) for size in new]
                factors += [(size if prod(own) > 1 else 1,) for size in new]
            elif len(new) == 1:
                axes.append(old)
                factors.append(own)
            else:
                return None
        return Place(tuple(axes), tuple(factors))

    def fine_moves(self, move: Move, behind: Place) -> tuple[Move, Move]:
        """Return what a move does to the array by finer axes, and what it does to the factors."""
        kind, argument = move
        if kind == "reshape":
            return ("reshape", behind.fine_shape), ("reshape", behind.factor_shape)
        ends = list(accumulate(len(axis) for axis in self.axes))
        fine = tuple(i for a in argument for i in range(ends[a] - len(self.axes[a]), ends[a]))
        return ("transpose", fine), ("transpose", fine)


def _cut_at(fine: Shape, factors: Shape, shape: Shape) -> tuple[Shape, Shape]:
    """Part finer axes where a new shape has an edge inside of one, if that is possible."""
    found: list[tuple[int, int]] = []
    edges = set(accumulate(shape, mul))
    before = 1
    for size, factor in zip(fine, factors, strict=True):
        inside = sorted(e for e in edges if before < e < before * size and e % before == 0)
        sizes, last = [], before
        for edge in [*inside, before * size]:
            if edge % last == 0 and (before * size) % edge == 0:
                sizes.append(edge // last)
                last = edge
        found += [(n, n if factor > 1 else 1) for n in sizes]
        before *= size
    return tuple(n for n, _ in found), tuple(n for _, n in found)


def keeps_order(moves: Sequence[Move], shape: Shape) -> bool:
    """Whether moves leave the elements of an array of this shape in their order."""
    for kind, argument in moves:
        if kind == "transpose":
            long = [axis for axis in argument if shape[axis] > 1]
            if long != sorted(long):
                return False
        shape = moved_shape(shape, (kind, argument))
    return True
