"""Integer tensors, without loss: weights that are quantised already, index tables, masks.

    rows         the integers x as they are; a segment is a row of the out x in*k plane
    columns      the same, a segment being an input channel: weights of one input are of one size
                 (both less their median where that is far from 0, as in uint8 weights)
    differences  x(i) - x(i-1) along the rows; decoded by a cumulative sum (ranges, relative positions)
    table        the distinct values u, sorted, and for each element its number in u; x = u[number]

The smallest is taken. All but the last need |x| < 2^24, where every runtime's arithmetic is exact
(CODEC.md, section 1, rule 3); a table moves values of any size and does no arithmetic. 8-bit floats are
numbered in rising order, and made of a table of all floats by their numbers. The graph ends in the
tensor's own type and folds to an identical initializer (CODEC.md, section 6).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

from onnxzip.passbase import Builder, Codec, Pass
from onnxzip.records.aliases import Array, Scalar
from onnxzip.records.elements.exact import FLOAT8, FOUR_BITS, is_exact, is_narrow
from onnxzip.records.layer import Layer, Layout
from onnxzip.records.payload import Encoded, WholeNumbers
from onnxzip.records.plan import Candidate, Skip

from ._float8 import N_NEGATIVE, floats_of_places, places_of
from ._shared import as_segments, payload, price

MAX_MAGNITUDE = 1 << 24
"""Integers below this are exact in a runtime that computes with float32."""

MAX_RANGE = 1 << 20
"""Coding pays for its tables below this range of values."""

MAX_TABLE_SHARE = 4
"""A table may have one value for this many elements."""

MIN_OFFSET = 8
"""A median nearer to 0 is left in the integers."""

_NARROW = (np.int8, np.uint8, np.int16, np.uint16)
"""Types that integers are decoded to at once; others are made of int32 by a Cast."""

_N_NODES = {"rows": 0, "columns": 2, "differences": 1, "table": 1}
"""As `Lossless.emit` counts them: Reshape and Transpose, CumSum, Gather."""

_N_FINAL_NODES = 3
"""Cast, Reshape and Transpose of `replace_weight`."""


def _example(name: str, array: Array, op_type: str = "", layout: Layout | None = None) -> Layer:
    array.flags.writeable = False
    default = Layout((), (0,), tuple(range(1, array.ndim)), ())
    return Layer(name, op_type, array, layout or default)


def example_layers() -> tuple[Layer, ...]:
    """Return one small layer of each type and kind: weights, positions, masks, large values."""
    generator = np.random.default_rng(0)

    def weight(shape: tuple[int, ...], deviation: float) -> NDArray[np.float64]:
        return np.clip(generator.laplace(0, deviation, shape), -127, 127)

    columns = np.linspace(1, 40, 64)[None, :, None, None]
    spread = generator.standard_normal((64, 64, 3, 3)) * columns
    positions = np.arange(49)[:, None] - np.arange(49)[None, :]
    seconds = 1_700_000_000 + 86_400 * generator.integers(0, 5, (40, 20))
    conv = Layout((), (0,), (1,), (2, 3))
    matmul = Layout((), (1,), (0,), ())
    return (
        _example("conv_int8", weight((24, 16, 3, 3), 9).astype(np.int8), "Conv", conv),
        _example("conv_columns", np.clip(spread, -127, 127).astype(np.int8), "QLinearConv", conv),
        _example("matmul_uint8", (128 + weight((48, 96), 5)).astype(np.uint8), "MatMulInteger", matmul),
        _example(
            "bias_int32", (weight((600,), 100) * 500).astype(np.int32), "Conv", Layout((), (), (0,), ())
        ),
        _example("table_int16", (weight((30, 40), 9) - 3000).astype(np.int16), "Gather"),
        _example("table_uint16", (weight((30, 40), 9) + 50_000).astype(np.uint16), "Gather"),
        _example("positions_int64", (positions + 48).astype(np.int64), "Gather"),
        _example("seconds_int64", seconds.astype(np.int64), "Gather"),
        _example("seconds_uint32", (seconds + 2_000_000_000).astype(np.uint32), "Gather"),
        _example("hashes_uint64", (seconds.astype(np.uint64) << np.uint64(33)), "Gather"),
        _example("mask_bool", positions >= 0, "Where"),
        _example(
            "matmul_int4", np.clip(weight((64, 96), 2), -8, 7).astype(ml_dtypes.int4), "MatMul", matmul
        ),
        _example(
            "conv_uint4",
            np.clip(8 + weight((64, 16, 3, 3), 1), 0, 15).astype(ml_dtypes.uint4),
            "Conv",
            conv,
        ),
        *(
            _example(name, weight((96, 128), 1).astype(np.dtype(name)), "MatMul", matmul)
            for name in FLOAT8
        ),
    )


@dataclass(frozen=True)
class Lossless(Pass):
    """Code integers as they are, in the smallest of four ways."""

    name: ClassVar[str] = "lossless"
    kinds: ClassVar[tuple[str, ...]] = ("integer",)
    min_opset: ClassVar[int] = 11
    examples: ClassVar[tuple[Layer, ...]] = example_layers()

    def candidates(self, layer: Layer, codec: Codec) -> Iterator[Candidate | Skip]:
        """Offer the smallest exact coding."""
        if reason := _refusal(layer):
            yield Skip(layer.name, self.name, reason)
            return
        best: Candidate | None = None
        for coding in _possible_codings(layer):
            offer = self._candidate(layer, coding, codec)
            if best is None or offer.n_bytes < best.n_bytes:
                best = offer
        if best is None:
            reason = "integers of 2^24 and above, and too many different ones for a table"
            yield Skip(layer.name, self.name, reason)
            return
        if best.n_bytes >= layer.n_bytes:
            reason = f"{best.n_bytes} bytes when coded, {layer.n_bytes} as they are"
            yield Skip(layer.name, self.name, reason)
            return
        yield best

    def _candidate(self, layer: Layer, coding: str, codec: Codec) -> Candidate:
        encoded = _CODERS[coding](layer)
        is_narrow_type = is_narrow(layer.weight.dtype)  # made by one more node
        n_nodes = _N_NODES[coding] + ("offset" in encoded.tables) + is_narrow_type + _N_FINAL_NODES
        settings: dict[str, Scalar] = {"coding": coding, "is_packed": not codec.is_continuous}
        return price(layer, self.name, settings, encoded, codec=codec, n_nodes=n_nodes, error=0.0)

    def encode(self, layer: Layer, settings: Mapping[str, Scalar], codec: Codec) -> Encoded:
        """Code the integers in the way that `settings["coding"]` names."""
        return _CODERS[str(settings["coding"])](layer)

    def restore(self, candidate: Candidate) -> Array:
        """Return the integers in canonical shape, in the tensor's own type."""
        encoded, layer = payload(candidate), candidate.layer
        (integers,) = encoded.integers.values()
        coding = candidate.settings["coding"]
        integers = integers + encoded.tables.get("offset", np.int32(0))
        flat: Array = integers.ravel()
        if coding == "columns":
            flat = np.swapaxes(integers.reshape(_columns_shape(layer)), 1, 2).ravel()
        elif coding == "differences":
            flat = np.cumsum(flat, dtype=np.int32)
        elif coding == "table":
            flat = encoded.tables["values"][flat]
        if layer.weight.dtype.name in FLOAT8:
            flat = floats_of_places(layer.weight.dtype)[flat + N_NEGATIVE]
        return np.ascontiguousarray(flat).astype(layer.weight.dtype).reshape(layer.canonical_shape)

    def emit(self, candidate: Candidate, builder: Builder) -> None:
        """Emit the integers, and what undoes the coding."""
        encoded, layer = payload(candidate), candidate.layer
        (integers,) = encoded.integers.values()
        coding = candidate.settings["coding"]
        dtype = _decoded_type(layer.weight.dtype) if coding in ("rows", "columns") else np.int32
        offset = int(encoded.tables["offset"][0]) if "offset" in encoded.tables else 0
        is_place = layer.weight.dtype.name in FLOAT8
        offset += N_NEGATIVE if is_place else 0
        is_packed = bool(candidate.settings["is_packed"])
        value = builder.integers(WholeNumbers(integers, offset, dtype, is_packed))
        if coding == "columns":
            value = builder.reshape(value, _columns_shape(layer), dtype)
            value = builder.node("Transpose", [value], _columns_order(layer), dtype, perm=(0, 2, 1, 3))
        elif coding == "differences":
            axis = builder.constant(np.array(1, np.int32))
            value = builder.node("CumSum", [value, axis], integers.shape, np.int32)
        elif coding == "table":
            table = builder.constant(encoded.tables["values"])
            value = builder.node("Gather", [table, value], integers.shape, layer.weight.dtype.type)
        if is_place:
            shape = _columns_order(layer) if coding == "columns" else integers.shape
            floats = builder.constant(floats_of_places(layer.weight.dtype))
            value = builder.node("Gather", [floats, value], shape, np.float32)
        builder.replace_weight(layer, value)


def _refusal(layer: Layer) -> str:
    if not is_exact(layer.weight.dtype):
        return f"{layer.weight.dtype} numbers are not integers"
    return "" if layer.weight.size else "it is empty"


def _possible_codings(layer: Layer) -> list[str]:
    """Return the codings that are exact for the layer's values."""
    integers = _canonical(layer)
    low, high = int(integers.min()), int(integers.max())
    codings = []
    if max(-low, high) < MAX_MAGNITUDE and high - low < MAX_RANGE:
        has_columns = layer.sizes[2] > 1 and layer.n_rows > 1
        codings = ["rows", *(["columns"] if has_columns else [])]
        if not is_narrow(layer.weight.dtype):
            codings.append("differences")
    if _has_few_values(layer.weight):
        codings.append("table")
    return codings


def _has_few_values(weight: Array) -> bool:
    """Whether a table of the distinct values could be small; a sample spares sorting where it cannot."""
    limit = weight.size // MAX_TABLE_SHARE
    if weight.itemsize == 1:
        return False  # a table saves nothing over the integers themselves
    sample = weight.ravel()[:: max(1, weight.size // 65_536)]
    return len(np.unique(sample)) <= limit and len(np.unique(weight)) <= limit


def _canonical(layer: Layer) -> Array:
    """Return the integers, C-contiguous, in canonical shape; the places of 8-bit floats (`_float8`)."""
    ordered = np.ascontiguousarray(np.transpose(layer.weight, layer.layout.order))
    if layer.weight.dtype.name in FLOAT8:
        ordered = places_of(ordered)
    elif is_narrow(layer.weight.dtype):
        ordered = ordered.astype(np.int8)
    return ordered.reshape(layer.canonical_shape)


def _columns_shape(layer: Layer) -> tuple[int, int, int, int]:
    n_batch, n_out, n_inner, spatial = layer.sizes
    return n_batch, n_inner, n_out, int(np.prod(spatial, dtype=np.int64))


def _columns_order(layer: Layer) -> tuple[int, int, int, int]:
    batch, inner, out, rest = _columns_shape(layer)
    return batch, out, inner, rest


def _decoded_type(dtype: np.dtype[np.generic]) -> type[np.generic]:
    """Return the type that integers are decoded to: their own, or what a Cast makes that of."""
    if dtype.name in FOUR_BITS:
        return np.int8
    return dtype.type if dtype in _NARROW else np.int32


def _plane(layer: Layer) -> Array:
    return _canonical(layer).reshape(layer.n_rows, -1)


def _narrow_segments(plane: Array) -> NDArray[np.int32]:
    return np.ascontiguousarray(as_segments(plane).astype(np.int32))


def _code_rows(layer: Layer) -> Encoded:
    return _centred("rows", _plane(layer))


def _code_columns(layer: Layer) -> Encoded:
    n_batch, n_inner, n_out, n_spatial = _columns_shape(layer)
    cells = _canonical(layer).reshape(n_batch, n_out, n_inner, n_spatial)
    plane = np.swapaxes(cells, 1, 2).reshape(n_batch * n_inner, -1)
    return _centred("columns", plane)


def _centred(name: str, plane: Array) -> Encoded:
    """Subtract the median where it is far from 0: the coder takes 0 for the likeliest integer."""
    integers = _narrow_segments(plane)
    middle = int(np.median(integers))
    spread = max(int(integers.max()) - middle, middle - int(integers.min()))
    if abs(middle) < max(MIN_OFFSET, spread // 2):
        return Encoded(integers={name: integers})
    offset = np.array([middle], np.int32)
    return Encoded(integers={name: integers - offset}, tables={"offset": offset})


def _code_differences(layer: Layer) -> Encoded:
    flat = _canonical(layer).ravel().astype(np.int32)
    return Encoded(integers={"differences": np.diff(flat, prepend=np.int32(0))[None]})


def _code_table(layer: Layer) -> Encoded:
    values, numbers = np.unique(_plane(layer), return_inverse=True)
    numbers = numbers.reshape(_plane(layer).shape)
    return Encoded(integers={"numbers": _narrow_segments(numbers)}, tables={"values": values})


_CODERS: Mapping[str, Callable[[Layer], Encoded]] = {
    "rows": _code_rows,
    "columns": _code_columns,
    "differences": _code_differences,
    "table": _code_table,
}
