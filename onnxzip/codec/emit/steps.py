"""Emits the steps of coefficients, in the shapes that they are multiplied in."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onnxzip.codec.emit.nodes import cast, split_if_many
from onnxzip.codec.emit.scaled import Scaling, emit_moves
from onnxzip.codec.emit.stacks import Stack
from onnxzip.codec.estimates import N_LISTED, n_step_bytes, step_dtype
from onnxzip.passbase import Builder
from onnxzip.records.payload import STEPS_PER_OCTAVE
from onnxzip.transforms.moves import Moves, Shape


def emit_steps(stacks: Sequence[Stack], scalings: Sequence[Scaling], builder: Builder) -> list[str]:
    """Store the steps of all coefficients, in one initializer a type: bytes, float16 and float32.

    Returns:
        Their names; of single steps, shape (1,), of others that of the stack's scaling.
    """
    found = _emit_stored([stack for stack in stacks if stack.outer is None], builder)
    found |= _emit_grids([stack for stack in stacks if stack.outer is not None], builder)
    names = []
    for stack, scaling in zip(stacks, scalings, strict=True):
        name, shape = found[id(stack)]
        moves: Moves = (("reshape", stack.step_shape), *scaling.steps) if shape != (1,) else ()
        names.append(emit_moves(name, shape, np.float32, moves, builder)[0])
    return names


def _emit_stored(stacks: Sequence[Stack], builder: Builder) -> dict[int, tuple[str, Shape]]:
    """Store steps that are no products, flat; return the name and shape of each stack's."""
    names: dict[int, tuple[str, Shape]] = {}
    for members in _with_few_values(stacks):
        arrays = [stack.steps.ravel() for stack in members]
        values, index = np.unique(np.concatenate(arrays), return_inverse=True)
        parts = _look_up(values, index.astype(np.uint8), arrays, builder)
        for stack, part in zip(members, parts, strict=True):
            names[id(stack)] = part, (stack.steps.size,)
    stacks = [stack for stack in stacks if id(stack) not in names]
    for dtype in (np.dtype(np.float16), np.dtype(np.float32)):
        members = [stack for stack in stacks if step_dtype(stack.steps) == dtype]
        if not members:
            continue
        joined = np.concatenate([stack.steps.ravel() for stack in members]).astype(dtype)
        value = builder.constant(joined)
        if dtype == np.float16:
            value = cast(value, joined.shape, np.float32, builder)
        parts = split_if_many(value, [(m.steps.size,) for m in members], np.float32, builder)
        for stack, part in zip(members, parts, strict=True):
            names[id(stack)] = part, (stack.steps.size,)
    return names


def _emit_grids(stacks: Sequence[Stack], builder: Builder) -> dict[int, tuple[str, Shape]]:
    """Store the steps of columns as exponents, a byte each; return each stack's name and shape."""
    names = _emit_powers([stack.steps for stack in stacks], builder)
    shapes = [stack.steps.shape for stack in stacks]
    outer = {
        i: stack.outer
        for i, stack in enumerate(stacks)
        if stack.outer is not None and stack.outer.size > 1
    }
    for (i, array), name in zip(outer.items(), _emit_powers([*outer.values()], builder), strict=True):
        shape = stacks[i].step_shape
        stack, (n_outer, n_inner, _) = shape[:-3], shape[-3:]
        factors = (
            (name, array.shape, (*stack, n_outer, 1, 1)),
            (names[i], shapes[i], (*stack, 1, n_inner, 1)),
        )
        placed = [
            emit_moves(factor, own, np.float32, (("reshape", wanted),), builder)[0] if stack else factor
            for factor, own, wanted in factors
        ]
        names[i], shapes[i] = builder.node("Mul", placed, shape, np.float32), shape
    return {id(i): (name, shape) for i, name, shape in zip(stacks, names, shapes, strict=True)}


def _emit_powers(arrays: Sequence[NDArray[np.float32]], builder: Builder) -> list[str]:
    """Look up powers of 2 ** (1 / STEPS_PER_OCTAVE) by their exponents; arrays differ in length only."""
    if not arrays:
        return []
    joined = np.concatenate(arrays)
    exponents = np.rint(np.log2(joined.astype(np.float64)) * STEPS_PER_OCTAVE).astype(np.int64)
    lowest, highest = int(exponents.min()), int(exponents.max())
    powers = np.exp2(np.arange(lowest, highest + 1) / STEPS_PER_OCTAVE).astype(np.float32)
    stored = (exponents - lowest).astype(np.min_scalar_type(highest - lowest))
    return _look_up(powers, stored, arrays, builder)


def _look_up(
    values: NDArray[np.float32],
    stored: NDArray[np.unsignedinteger[Any]],
    arrays: Sequence[NDArray[np.float32]],
    builder: Builder,
) -> list[str]:
    """Emit the values that stored numbers stand for, split like arrays that differ in length only."""
    index = cast(builder.constant(stored), stored.shape, np.int32, builder)
    value = builder.node("Gather", [builder.constant(values), index], stored.shape, np.float32, axis=0)
    return split_if_many(value, [array.shape for array in arrays], np.float32, builder)


def _with_few_values(stacks: Sequence[Stack]) -> list[list[Stack]]:
    """Return stacks whose steps take least in bytes, in groups that have few values together."""
    groups: list[tuple[list[Stack], set[float]]] = []
    for stack in stacks:
        steps = stack.steps
        if n_step_bytes(steps) >= step_dtype(steps).itemsize * steps.size:
            continue
        values = set(np.unique(steps).tolist())
        for members, known in groups:
            if len(known | values) <= N_LISTED:
                members.append(stack)
                known |= values
                break
        else:
            groups.append(([stack], values))
    return [members for members, _ in groups]
