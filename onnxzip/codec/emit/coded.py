"""Emits the decode subgraphs of entropy coded coefficients and integers, all of a model together."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from onnxzip.codec.coding.encoder import encode
from onnxzip.codec.coding.packed import n_packed_bytes
from onnxzip.codec.coding.split import choose_shift
from onnxzip.codec.emit.packed import emit_packed, emit_parts, emit_stacks, moves_of
from onnxzip.codec.emit.scaled import emit_integers, plan_scaling
from onnxzip.codec.emit.stacks import find_stacks
from onnxzip.codec.emit.streams import emit_streams
from onnxzip.codec.estimates import n_ideal_bits
from onnxzip.passbase import Builder
from onnxzip.records.payload import Coefficients
from onnxzip.transforms.moves import Moves

_LEAST_GAIN, _LEAST_GAIN_LARGE, _MANY_INTEGERS = 1 / 32, 1 / 8, 1 << 20
"""What entropy coding has to save: it takes several times the memory of packing, which adds up."""

Stored = Coefficients | NDArray[np.int32]


def emit_coded(items: Sequence[Stored], builder: Builder, moves: Sequence[Moves] = ()) -> list[str]:
    """Emit all decoders, entropy coded together; return the same as `emit_packed`.

    What is of fixed rate is packed, and so are integer arrays that are no coefficients and would hardly
    be smaller coded. Wide integers are split (`coding.split`): the high parts are coded, the low bits
    packed.
    """
    moves = moves_of(items, moves)
    n_integers = sum(item.size for item in items if not isinstance(item, Coefficients))
    least_gain = _LEAST_GAIN_LARGE if n_integers >= _MANY_INTEGERS else _LEAST_GAIN
    packed = [i for i, item in enumerate(items) if _suits_packing(item, least_gain)]
    coded = [i for i in range(len(items)) if i not in set(packed)]
    names: dict[int, str] = {}
    for members, emit in ((packed, emit_packed), (coded, _emit_coded)):
        chosen = [items[i] for i in members]
        names.update(zip(members, emit(chosen, builder, [moves[i] for i in members]), strict=True))
    return [names[i] for i in range(len(items))]


def _suits_packing(item: Stored, least_gain: float) -> bool:
    if isinstance(item, Coefficients):
        return item.is_fixed_rate
    return n_ideal_bits(item) > (1 - least_gain) * 8 * n_packed_bytes(item)


def _emit_coded(items: Sequence[Stored], builder: Builder, moves: Sequence[Moves]) -> list[str]:
    chosen = {i: item for i, item in enumerate(items) if isinstance(item, Coefficients)}
    stacks = find_stacks(chosen, moves, lambda item: choose_shift(item.integers))
    rest = {i: item for i, item in enumerate(items) if not isinstance(item, Coefficients)}
    whole = [stack.integers.astype(np.int32) for _, stack in stacks] + list(rest.values())
    factors = [1 << choose_shift(array) for array in whole[: len(stacks)]] + [1] * len(rest)
    parts = emit_parts(
        whole, factors, lambda highs: emit_streams(encode(highs), builder, len(stacks)), builder
    )
    names = emit_stacks(stacks, [plan_scaling(stack) for _, stack in stacks], parts, factors, builder)
    for (i, item), (part,) in zip(rest.items(), parts[len(stacks) :], strict=True):
        names[i] = emit_integers(part, item.shape, moves[i], builder)
    return [names[i] for i in range(len(items))]
