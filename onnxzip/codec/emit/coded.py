"""Emits the decode subgraphs of entropy coded coefficients and integers, all of a model together."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from onnxzip.codec.coding.encoder import encode
from onnxzip.codec.coding.packed import n_packed_bytes
from onnxzip.codec.coding.split import choose_shift
from onnxzip.codec.emit.packed import emit_packed, emit_parts, emit_stacks, moves_of
from onnxzip.codec.emit.scaled import emit_integers, plan_scaling
from onnxzip.codec.emit.stacks import find_stacks
from onnxzip.codec.emit.streams import emit_streams
from onnxzip.codec.estimates import choose_whole_shift, n_coded_bytes
from onnxzip.passbase import Builder
from onnxzip.records.payload import Coefficients, Stored
from onnxzip.transforms.moves import Moves

_LEAST_GAIN = 1 / 32
"""What entropy coding has to save: at 60 bytes of memory at load for each integer (of 8 bits), a byte in
the file is worth 1,900 of memory then (`code_plan.LOAD_BYTES_PER_FILE_BYTE`)."""


def emit_coded(items: Sequence[Stored], builder: Builder, moves: Sequence[Moves] = ()) -> list[str]:
    """Emit all decoders, entropy coded together; return the same as `emit_packed`.

    What is of fixed rate is packed, and so are integer arrays that are no coefficients and would hardly
    be smaller coded. Wide integers are split (`coding.split`): the high parts are coded, the low bits
    packed.
    """
    moves = moves_of(items, moves)
    packed = [i for i, item in enumerate(items) if _suits_packing(item)]
    coded = [i for i in range(len(items)) if i not in set(packed)]
    names: dict[int, str] = {}
    for members, emit in ((packed, emit_packed), (coded, _emit_coded)):
        chosen = [items[i] for i in members]
        names.update(zip(members, emit(chosen, builder, [moves[i] for i in members]), strict=True))
    return [names[i] for i in range(len(items))]


def _suits_packing(item: Stored) -> bool:
    if isinstance(item, Coefficients):
        return item.is_fixed_rate
    if item.is_packed:
        return True
    integers = item.integers
    n_bytes = n_coded_bytes(integers, choose_whole_shift(integers))
    return n_bytes > (1 - _LEAST_GAIN) * n_packed_bytes(integers)


def _emit_coded(items: Sequence[Stored], builder: Builder, moves: Sequence[Moves]) -> list[str]:
    chosen = {i: item for i, item in enumerate(items) if isinstance(item, Coefficients)}
    stacks = find_stacks(chosen, moves, lambda item: choose_shift(item.integers))
    rest = {i: item for i, item in enumerate(items) if not isinstance(item, Coefficients)}
    whole = [stack.integers.astype(np.int32) for _, stack in stacks]
    shifts = [choose_shift(array) for array in whole]
    whole += [item.integers for item in rest.values()]
    shifts += [choose_whole_shift(item.integers) for item in rest.values()]
    factors = [1 << shift for shift in shifts]
    parts = emit_parts(
        whole, factors, lambda highs: emit_streams(encode(highs), builder, len(stacks)), builder
    )
    names = emit_stacks(stacks, [plan_scaling(stack) for _, stack in stacks], parts, factors, builder)
    own = zip(rest.items(), parts[len(stacks) :], factors[len(stacks) :], strict=True)
    for (i, item), own_parts, factor in own:
        names[i] = emit_integers(own_parts, factor, item, moves[i], builder)
    return [names[i] for i in range(len(items))]
