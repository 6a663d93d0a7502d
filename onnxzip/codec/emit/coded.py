"""Emits the decode subgraphs of entropy coded coefficients and integers, all of a model together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

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


_DECODER_BYTES = 2500
"""What the nodes that decode all streams take in a file, about (`encoder.MIN_CODED_BYTES`): where no
coefficients need them either, integers have to save as much."""


def emit_coded(items: Sequence[Stored], builder: Builder, moves: Sequence[Moves] = ()) -> list[str]:
    """Emit all decoders, entropy coded together; return the same as `emit_packed`.

    What is of fixed rate is packed, and so are integer arrays that are no coefficients and would hardly
    be smaller coded. Wide integers are split (`coding.split`): the high parts are coded, the low bits
    packed.
    """
    moves = moves_of(items, moves)
    coded = [i for i, item in enumerate(items) if not _suits_packing(item)]
    if not any(isinstance(items[i], Coefficients) for i in coded):
        saved = sum(_saved_bytes(items[i].integers) for i in coded)
        coded = coded if saved >= _DECODER_BYTES else []
    packed = [i for i in range(len(items)) if i not in set(coded)]
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
    return _saved_bytes(item.integers) < _LEAST_GAIN * n_packed_bytes(item.integers)


def _saved_bytes(integers: NDArray[np.signedinteger[Any]]) -> float:
    """Estimate what coding saves of packed integers, but for the nodes that all of a model share."""
    return n_packed_bytes(integers) - n_coded_bytes(integers, choose_whole_shift(integers))


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
