"""Emits the decode subgraphs of entropy coded coefficients and integers, all of a model together."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from onnxzip.codec.coding.encoder import encode
from onnxzip.codec.coding.packed import Integers, n_packed_bytes
from onnxzip.codec.coding.split import choose_shift, split
from onnxzip.codec.emit.packed import emit_groups, emit_packed, integers_of, join
from onnxzip.codec.emit.steps import emit_scaled, emit_steps
from onnxzip.codec.emit.streams import emit_streams
from onnxzip.codec.estimates import n_ideal_bits
from onnxzip.passbase import Builder
from onnxzip.records.payload import Coefficients

_LEAST_GAIN, _LEAST_GAIN_LARGE, _MANY_INTEGERS = 1 / 32, 1 / 8, 1 << 20
"""What entropy coding has to save: it takes several times the memory of packing, which adds up."""


def emit_coded(items: Sequence[Coefficients | NDArray[np.int32]], builder: Builder) -> list[str]:
    """Emit all decoders, entropy coded together; return the same as `emit_packed`.

    What is of fixed rate is packed, and so are integer arrays that are no coefficients and would hardly
    be smaller coded. Wide integers are split (`coding.split`): the high parts are coded, the low bits
    packed.
    """
    n_integers = sum(item.size for item in items if not isinstance(item, Coefficients))
    least_gain = _LEAST_GAIN_LARGE if n_integers >= _MANY_INTEGERS else _LEAST_GAIN
    packed = [i for i, item in enumerate(items) if _suits_packing(item, least_gain)]
    names = dict(zip(packed, emit_packed([items[i] for i in packed], builder), strict=True))
    coded = [i for i in range(len(items)) if i not in names]
    names.update(zip(coded, _emit_streams([items[i] for i in coded], builder), strict=True))
    return [names[i] for i in range(len(items))]


def _suits_packing(item: Coefficients | NDArray[np.int32], least_gain: float) -> bool:
    if isinstance(item, Coefficients):
        return item.is_fixed_rate
    return n_ideal_bits(item) > (1 - least_gain) * 8 * n_packed_bytes(item)


def _emit_streams(items: Sequence[Coefficients | NDArray[np.int32]], builder: Builder) -> list[str]:
    whole = [integers_of(item).astype(np.int32) for item in items]
    is_float = [isinstance(item, Coefficients) for item in items]
    shifts = [choose_shift(a) if f else 0 for a, f in zip(whole, is_float, strict=True)]
    lows: dict[int, Integers] = {}
    for i, shift in enumerate(shifts):
        if shift:
            whole[i], lows[i] = split(whole[i], 1 << shift)
    streams = encode(whole)
    steps = emit_steps([item for item in items if isinstance(item, Coefficients)], builder)
    parts = emit_streams(streams, builder, {i for i, f in enumerate(is_float) if not f})
    low_parts = dict(zip(lows, emit_groups(list(lows.values()), True, builder), strict=True))
    names: list[str] = []
    for i, (item, part) in enumerate(zip(items, parts, strict=True)):
        if i in low_parts:
            part = join(part, low_parts[i], 1 << shifts[i], whole[i].shape, builder)
        if isinstance(item, Coefficients):
            if item.view != item.integers.shape:
                part = builder.reshape(part, item.view)
            part = emit_scaled(item, part, steps[id(item)], builder)
        names.append(part)
    return names
