"""Emits coefficients from their integers: moved while they are bytes, then made floats and scaled."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import prod

import numpy as np

from onnxzip.codec.coding.prefix import Outliers
from onnxzip.codec.emit.nodes import Tile, Values, cast, in_tiles_of, scalar, widened
from onnxzip.codec.emit.stacks import Stack
from onnxzip.codec.emit.streams import Emitted, emit_positions, with_outliers
from onnxzip.passbase import LARGEST_EXPANDED, Builder
from onnxzip.records.payload import WholeNumbers
from onnxzip.transforms.moves import (
    Move,
    Moves,
    Place,
    Shape,
    keeps_order,
    moved,
    moved_shape,
    shape_behind,
    simplified,
)


@dataclass(frozen=True)
class Scaling:
    """Where in its moves an array of coefficients is multiplied by its steps.

    Attributes:
        before: moves of the integers.
        after: moves of the products.
        shape: what is multiplied.
        steps: moves that bring the steps into their place, from `Stack.step_shape`.
        step_shape: they broadcast to `shape`.
    """

    before: Moves
    after: Moves
    shape: Shape
    steps: Moves
    step_shape: Shape

    def with_moved(self, shape: Shape) -> Scaling:
        """Return the same for integers that are moved already, to a shape."""
        return replace(self, before=(("reshape", shape),))

    @property
    def needs_reshape(self) -> bool:
        """Whether a Reshape has to lie between Cast and Mul.

        Else OpenVINO (2024 to 2026.4) takes a weight that goes into a MatMul as it is for a quantised
        one with a scale for each column, whatever the scale's axis: the outputs are wrong.
        """
        is_by_row = len(self.shape) == 2 and self.step_shape[0] > 1
        return is_by_row or (len(self.shape) > 2 and len(shape_behind(self.shape, self.after)) == 2)


def plan_scaling(stack: Stack) -> Scaling:
    """Find the last place among the moves of coefficients where their steps can be applied."""
    if stack.is_parted_early:
        alone = plan_scaling(stack.first)
        moves = stack.together(alone.before, alone.shape)
        return replace(alone, before=moves, steps=stack.together(alone.steps, alone.step_shape))
    view, steps = stack.view, stack.step_shape
    moves = simplified(view, stack.moves)
    place = Place(tuple((n,) for n in view), tuple((n,) for n in steps))
    before: list[Move] = [("reshape", view)]
    step_moves: list[Move] = []
    n_followed = 0
    while n_followed < len(moves) and (behind := place.behind(moves[n_followed])) is not None:
        of_array, of_steps = place.fine_moves(moves[n_followed], behind)
        before.append(of_array)
        step_moves.append(of_steps)
        place = behind
        n_followed += 1
    if keeps_order(step_moves, steps):
        step_moves = [("reshape", place.factor_shape)]
    return Scaling(
        before=simplified((), tuple(before)),
        after=simplified(place.fine_shape, (("reshape", place.shape), *moves[n_followed:])),
        shape=place.fine_shape,
        steps=simplified(steps, tuple(step_moves)),
        step_shape=place.factor_shape,
    )


def emit_moves(
    value: str, shape: Shape, dtype: type[np.generic], moves: Moves, builder: Builder
) -> tuple[str, Shape]:
    """Emit moves; return the name and shape behind them."""
    for kind, argument in simplified(shape, moves):
        shape = moved_shape(shape, (kind, argument))
        if kind == "reshape":
            value = builder.reshape(value, shape, dtype)
        else:
            value = builder.node("Transpose", [value], shape, dtype, perm=argument)
    return value, shape


def emit_integers(
    parts: Sequence[Emitted], factor: int, item: WholeNumbers, moves: Moves, builder: Builder
) -> str:
    """Emit whole numbers behind their moves, in the type that they are wanted in.

    They are as wide as sums need in between, a tile at a time.

    Args:
        parts: the integers, or high and low parts (`coding.split`) of them.
        factor: by which they were split.
        item: what is wanted.
        moves: where it is wanted.
        builder: emits the nodes.
    """
    whole: Moves = (("reshape", item.integers.shape), *moves)
    found: list[Values] = []
    for part in (with_outliers(part, builder) for part in parts):
        name, shape = emit_moves(part.name, part.shape, part.dtype, whole, builder)
        found.append(Values(name, shape, part.dtype))
    if found[0].dtype is item.dtype and len(found) == 1 and not item.offset:
        return found[0].name

    def emit(tiles: Sequence[Values]) -> Tile:
        (high, *low), shape = [tile.widened(np.int32, builder) for tile in tiles], tiles[0].shape
        for other in low:
            high = builder.node("Mul", [high, scalar(factor, builder)], shape, np.int32)
            high = builder.node("Add", [high, other], shape, np.int32)
        if item.offset:
            high = builder.node("Add", [high, scalar(item.offset, builder)], shape, np.int32)
        return (high if item.dtype is np.int32 else cast(high, shape, item.dtype, builder)), shape

    return in_tiles_of(found, LARGEST_EXPANDED // 4, emit, builder, item.dtype)


def emit_members(
    stack: Stack,
    parts: Sequence[Emitted],
    factor: int,
    scaling: Scaling,
    steps: str,
    builder: Builder,
) -> list[str]:
    """Emit the coefficients of a stack; return each member's name.

    Args:
        stack: whose they are.
        parts: their integers, or high and low parts (`coding.split`) of them.
        factor: by which they were split.
        scaling: how the steps are applied.
        steps: of the scaling's `step_shape`, those of all members end to end; or one for all.
        builder: emits the nodes.
    """
    if not stack.is_parted_early:
        value = _emit_floats(parts, factor, scaling, steps, builder)
        shape = shape_behind(stack.members[0].integers.shape, stack.own_moves)
        return stack.parted(value, shape, builder)
    columns: list[list[Emitted]] = []
    for part in (with_outliers(part, builder) for part in parts):
        name, _ = emit_moves(part.name, part.shape, part.dtype, scaling.before, builder)
        names = stack.parted(name, scaling.shape, builder, part.dtype)
        columns.append([Emitted(n, scaling.shape, part.dtype) for n in names])
    own_steps = stack.parted(steps, scaling.step_shape, builder)
    alone = replace(scaling, before=())
    return [
        _emit_floats(own_parts, factor, alone, step, builder)
        for own_parts, step in zip(zip(*columns, strict=True), own_steps, strict=True)
    ]


def _emit_floats(
    parts: Sequence[Emitted], factor: int, scaling: Scaling, steps: str, builder: Builder
) -> str:
    """Emit coefficients from their integers, or from high and low parts of them."""
    high, *low = [_as_floats(part, scaling, builder) for part in parts]
    for rest in low:
        step = builder.constant(np.array([factor], np.float32))
        high = builder.node("Mul", [high, step], scaling.shape, np.float32)
        high = builder.node("Add", [high, rest], scaling.shape, np.float32)
    value = builder.node("Mul", [high, steps], scaling.shape, np.float32)
    return emit_moves(value, scaling.shape, np.float32, scaling.after, builder)[0]


def _as_floats(part: Emitted, scaling: Scaling, builder: Builder) -> str:
    """Emit integers as floats, moved to where they are multiplied."""
    if part.dtype is np.float32:
        part = with_outliers(part, builder)
    moves = simplified(part.shape, scaling.before)
    if part.outliers is not None:
        return _with_moved_outliers(part, part.outliers, moves, scaling.shape, builder)
    last: Moves = ()
    # the Concat behind the tiles of a large array does as well
    if scaling.needs_reshape and prod(scaling.shape) <= LARGEST_EXPANDED // 4:
        last = moves[-1:] if moves and moves[-1][0] == "reshape" else (("reshape", scaling.shape),)
        moves = moves[:-1] if last == moves[-1:] else moves
    name, shape = emit_moves(part.name, part.shape, part.dtype, moves, builder)
    name = widened(name, shape, np.float32, builder, part.dtype)
    for _, target in last:
        name = builder.reshape(name, target)
    return name


def _with_moved_outliers(
    part: Emitted, outliers: Outliers, moves: Moves, shape: Shape, builder: Builder
) -> str:
    """Emit integers as floats of a shape, and put the outliers in place where the moves bring them."""
    n = prod(part.shape)
    marks = np.zeros(n, np.int32)
    marks[outliers.positions] = 1 + np.arange(len(outliers.positions), dtype=np.int32)
    marks = moved(marks.reshape(part.shape), moves).ravel()
    places = np.flatnonzero(marks)
    values = outliers.values[marks[places] - 1].astype(np.float32)
    name, _ = emit_moves(part.name, part.shape, part.dtype, (*moves, ("reshape", (n,))), builder)
    wide = widened(name, (n,), np.float32, builder, part.dtype)
    inputs = [wide, emit_positions(places, builder), builder.constant(values)]
    return builder.reshape(builder.node("ScatterElements", inputs, (n,), np.float32), shape)
