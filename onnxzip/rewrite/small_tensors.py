"""Stores a model's small float tensors (biases, norms) together, in 8 or 16 bits.

They are laid one behind the other, each padded to whole blocks; a block of BLOCK numbers shares a step,
max|x| / h for integers -h ... h, so that each number is within a 254th of its block's largest at 8 bits.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from onnxzip.codec.estimates import FLOAT16_NORMAL
from onnxzip.passbase import Builder
from onnxzip.records.aliases import Array
from onnxzip.records.layer import Layer
from onnxzip.records.payload import Coefficients
from onnxzip.records.plan import Plan, Rounding

BLOCK = 16
"""Numbers that share a step: a float16 for 16 of them is one bit a number."""

RATES = (127, 32767)
"""Largest integers: 8 and 16 bits."""

_FIXED_BYTES = 240
"""What decodes them all takes in a file beside the numbers; tests/rewrite/test_small_tensors.py holds
the estimate made of these three against real files."""

_BYTES_PER_TENSOR = 25
"""Under short names: an output of the Split, its length as an int64, and a share of what scales them."""

_BYTES_PER_ENTRY = 40
"""A value_info entry, without the name."""


def n_saved_bytes(layers: Sequence[Layer], rate: int, *, keeps_names: bool = False) -> int:
    """Estimate what storing these tensors at a rate saves, nodes included; may be negative.

    Args:
        layers: the tensors.
        rate: largest integer.
        keeps_names: whether values keep long names, and entries that state their shapes.
    """
    n_before = sum(layer.weight.nbytes for layer in layers)
    n_payload = sum(_n_blocks(layer) for layer in layers) * (BLOCK * (1 if rate <= 127 else 2) + 2)
    n_nodes = _BYTES_PER_TENSOR * len(layers) + _FIXED_BYTES
    if keeps_names:
        n_nodes += sum(_BYTES_PER_ENTRY + len(layer.name) for layer in layers) + _FIXED_BYTES
    return n_before - n_payload - n_nodes


def settled(plan: Plan) -> dict[str, Array]:
    """Return the values that a plan's constants have in the compressed model, by name."""
    return {**plan.constants, **rounded(plan.rounding, plan.constants)}


def rounded(rounding: Rounding, arrays: Mapping[str, Array]) -> dict[str, Array]:
    """Return what the graph decodes tensors to.

    Args:
        rounding: says which tensors are rounded, and how.
        arrays: values of some of them, by name; other names are left out.
    """
    found: dict[str, Array] = {}
    for layer in rounding.layers:
        if layer.name in arrays:
            values = _quantise([layer], arrays, rounding.rate).values()
            found[layer.name] = values.reshape(-1)[: layer.weight.size].reshape(layer.weight.shape)
    return found


def emit_rounded(rounding: Rounding, arrays: Mapping[str, Array], builder: Builder) -> None:
    """Emit the decoder of all tensors of a rounding; `arrays` has the values to round, by name."""
    coefficients = _quantise(rounding.layers, arrays, rounding.rate)
    value = builder.coefficients(coefficients)
    value = builder.reshape(value, (coefficients.integers.size,))
    pieces: list[tuple[int]] = []
    places: list[int] = []
    for layer in rounding.layers:
        places.append(len(pieces))
        n_padding = _n_blocks(layer) * BLOCK - layer.weight.size
        pieces += [(layer.weight.size,), *([(n_padding,)] if n_padding else [])]
    parts = builder.split(value, pieces, np.float32)
    for layer, place in zip(rounding.layers, places, strict=True):
        builder.replace_weight(layer, parts[place])


def _quantise(layers: Sequence[Layer], arrays: Mapping[str, Array], rate: float) -> Coefficients:
    """Return (n_blocks, BLOCK) coefficients; a block's depend on nothing outside it."""
    blocks = np.zeros((sum(_n_blocks(layer) for layer in layers), BLOCK), np.float32)
    start = 0
    for layer in layers:
        blocks.reshape(-1)[start * BLOCK :][: layer.weight.size] = arrays[layer.name].reshape(-1)
        start += _n_blocks(layer)
    steps = _steps(blocks, np.float32(rate))
    inverse = np.divide(np.float32(1), steps, out=np.zeros_like(steps), where=steps > 0)
    integers = np.clip(np.rint(blocks * inverse), -rate, rate)
    return Coefficients(integers.astype(np.int8 if rate <= 127 else np.int16), steps, is_fixed_rate=True)


def _steps(blocks: NDArray[np.float32], rate: np.float32) -> NDArray[np.float32]:
    """Return (n_blocks, 1) steps, rounded up to float16 where that holds them to its full precision."""
    steps = np.abs(blocks).max(axis=1, keepdims=True) / rate
    is_normal = (steps >= FLOAT16_NORMAL[0]) & (steps <= FLOAT16_NORMAL[1])
    narrow = np.where(is_normal, steps, 1).astype(np.float16)
    narrow = np.where(narrow < steps, np.nextafter(narrow, np.float16(np.inf)), narrow)
    tiny = np.finfo(np.float32).tiny
    return np.where(is_normal, narrow, np.where(steps >= tiny, steps, 0)).astype(np.float32)


def _n_blocks(layer: Layer) -> int:
    return -(-layer.weight.size // BLOCK)
