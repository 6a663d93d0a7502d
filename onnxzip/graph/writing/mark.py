"""Marks a compressed model, and reads the mark of one.

The mark is one metadata entry, "onnxzip": a JSON object with the format version `v`, the number of
decode nodes `n` (they are the first nodes of the main graph), a checksum `c` of all that they read, the
methods `p`, `[pass name, form]` each, and `w`: for each decoded value, in the order in which the nodes
produce it, the three numbers method, bytes, error; `r`, `[how many, bits]`, stands for the small rounded
tensors that come last: they take what the decoder takes in the file beyond the bytes of the others. In
older files bytes are estimates. `m` says what the file was judged by (`Judgement`), `o` and `u` what it
was made from (origin.py). In version 1 `w` is a list of `[pass name, form, bytes, error]`, and
there is no `p` and no `r`.
"""

from __future__ import annotations

import json
import math
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx

from onnxzip.errors import ModelError
from onnxzip.graph.reading.model import Model
from onnxzip.graph.reading.tensors import float_dtype, tensor_array
from onnxzip.graph.writing.decoder_view import KEY, decoded_names, decoded_shapes, decoder_bytes
from onnxzip.graph.writing.origin import UNKNOWN_ORIGIN, Origin, origin_fields, parse_origin
from onnxzip.records.aliases import Array
from onnxzip.records.shares import apportion

_DAMAGE = (ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RecursionError)
"""What reading a mark raises that anybody may have written: among others 100,000 brackets."""

FORMAT_VERSION = 2
"""Counts the changes of the record described above."""


@dataclass(frozen=True)
class StoredValue:
    """What the mark says about one decoded value.

    Attributes:
        name: the value's name: the weight's own for the stored form.
        shape: as inferred, or from its value_info entry.
        n_bytes: its share of the decoder's bytes; in older files what it was estimated to take.
        error: Candidate.error; None for rounded tensors, whose errors are not recorded.
    """

    name: str
    pass_name: str
    form: str
    shape: tuple[int, ...]
    n_bytes: int
    error: float | None


@dataclass(frozen=True)
class RoundedValues:
    """The small tensors that are decoded behind all other values.

    Attributes:
        n_values: how many there are.
        n_bits: bits of each of their numbers, 8 or 16.
    """

    n_values: int = 0
    n_bits: int = 0


@dataclass(frozen=True)
class Judgement:
    """What a file was judged by when it was written.

    Attributes:
        metric: name of the metric; "" for a user's own function.
        limit: largest loss allowed (psnr: least dB); None where there was no limit.
        on_data: whether it was fitted to the user's data, and judged on them.
    """

    metric: str
    limit: float | None
    on_data: bool


def write_mark(
    model: Model,
    n_nodes: int,
    origin: Mapping[str, tuple[str, str, int, float]],
    rounded: RoundedValues = RoundedValues(),
    judged: Judgement | None = None,
    made_from: Origin = UNKNOWN_ORIGIN,
) -> None:
    """Write the mark.

    Args:
        model: the compressed model, changed in place.
        n_nodes: number of its decode nodes.
        origin: (pass name, form, bytes, error) by decoded value; ("", "computed", 0, 0) for others.
        rounded: the small tensors.
        judged: what to judge the file by when it is tested; None for the defaults.
        made_from: the original, and what is not proven.
    """
    names = decoded_names(model, n_nodes)
    planned = names[: len(names) - rounded.n_values]
    values = [origin.get(name, ("", "computed", 0, 0.0)) for name in planned]
    methods = list(dict.fromkeys((name, form[:1]) for name, form, _, _ in values))
    entries = [
        number
        for name, form, n_bytes, error in values
        for number in (methods.index((name, form[:1])), n_bytes, float(f"{error:.2g}"))
    ]
    checksum = payload_checksum(model, n_nodes)
    record: dict[str, object] = {
        "v": FORMAT_VERSION,
        "n": n_nodes,
        "c": checksum,
        "p": methods,
        "w": entries,
    }
    if rounded.n_values:
        record["r"] = [rounded.n_values, rounded.n_bits]
    if judged:
        record["m"] = [judged.metric, judged.limit, int(judged.on_data)]
    record |= origin_fields(made_from)
    text = json.dumps(record, separators=(",", ":"))
    model.proto.metadata_props.append(onnx.StringStringEntryProto(key=KEY, value=text))


def payload_checksum(model: Model, n_nodes: int) -> int:
    """Return the CRC-32 of the initializers that the first `n_nodes` nodes read, in reading order."""
    tensors = {t.name: t for t in model.proto.graph.initializer}
    read = dict.fromkeys(name for node in model.proto.graph.node[:n_nodes] for name in node.input)
    checksum = 0
    for name in read:
        if name in tensors:
            array = model.arrays.get(name)
            array = tensor_array(tensors[name]) if array is None else array
            checksum = zlib.crc32(np.ascontiguousarray(array).tobytes(), checksum)
    return checksum


def is_intact(model: Model) -> bool:
    """Whether what the decode nodes read is what was marked."""
    text = next(entry.value for entry in model.proto.metadata_props if entry.key == KEY)
    n_nodes, _ = read_mark(model)
    return bool(json.loads(text).get("c") == payload_checksum(model, n_nodes))


def is_marked(model: Model) -> bool:
    """Whether the model carries the mark of onnxzip."""
    return any(entry.key == KEY for entry in model.proto.metadata_props)


def read_mark(model: Model) -> tuple[int, list[StoredValue]]:
    """Return the number of decode nodes and what each decoded value is.

    Raises:
        ModelError: there is no mark, or it does not fit the graph.
    """
    mark = _find_mark(model)
    n_nodes = mark.n_nodes
    is_within = 0 < n_nodes <= len(model.proto.graph.node)
    names = decoded_names(model, n_nodes) if is_within else []
    shapes = decoded_shapes(model, n_nodes) if is_within else {}
    n_marked = len(mark.entries) + mark.rounded.n_values
    if not len(names) == n_marked == len(shapes):
        raise ModelError(
            f"{model.source}: the mark of onnxzip names {n_marked} weights but the graph decodes "
            f"{len(shapes)}: it was changed after onnxzip wrote it"
        )
    values = [
        StoredValue(name, pass_name, "stored" if form == "s" else "computed", shapes[name], size, error)
        for name, (pass_name, form, size, error) in zip(names, mark.entries, strict=False)
    ]
    small = {name: shapes[name] for name in names[len(mark.entries) :]}
    rest = decoder_bytes(model, n_nodes) - sum(value.n_bytes for value in values)
    sizes = apportion(max(rest, 0), [math.prod(shape) for shape in small.values()])
    for (name, shape), size in zip(small.items(), sizes, strict=True):
        values.append(StoredValue(name, "rounding", "stored", shape, size, None))
    return n_nodes, values


def read_judgement(model: Model) -> Judgement | None:
    """Return what a marked model was judged by, None for the defaults.

    Raises:
        ModelError: there is no mark, or it is damaged.
    """
    return _find_mark(model).judged


def read_origin(model: Model) -> Origin:
    """Return what a marked model was made from.

    Raises:
        ModelError: there is no mark, or it is damaged.
    """
    return _find_mark(model).made_from


def _find_mark(model: Model) -> _Mark:
    texts = [entry.value for entry in model.proto.metadata_props if entry.key == KEY]
    if not texts:
        raise ModelError(f"{model.source}: was not written by onnxzip (its mark is missing)")
    mark = _parse_mark(texts[0], model.source)
    if mark.version > FORMAT_VERSION:
        raise ModelError(f"{model.source}: format {mark.version} is newer than this onnxzip; upgrade it")
    return mark


@dataclass(frozen=True)
class _Mark:
    """The mark as it is read: (pass name, form, bytes, error) of each weight, then the rounded ones.

    A mark of a newer version has its version only.
    """

    version: int
    n_nodes: int = 0
    entries: tuple[tuple[str, str, int, float], ...] = ()
    rounded: RoundedValues = RoundedValues()
    judged: Judgement | None = None
    made_from: Origin = UNKNOWN_ORIGIN


def _parse_mark(text: str, source: str) -> _Mark:
    try:
        record = json.loads(text)
        version = int(record["v"])
        if version > FORMAT_VERSION:
            return _Mark(version)
        n_values, n_bits = record.get("r", (0, 0))
        rounded = RoundedValues(int(n_values), int(n_bits))
        entries = tuple((str(a), str(b), int(c), float(d)) for a, b, c, d in _rows(record, version))
        judged = _parse_judgement(*record["m"]) if "m" in record else None
        mark = _Mark(version, int(record["n"]), entries, rounded, judged, parse_origin(record))
        if mark.n_nodes < 1 or rounded.n_values < 0 or (not entries and not rounded.n_values):
            raise ValueError("nothing is decoded")
        if rounded.n_values and rounded.n_bits not in (8, 16):
            raise ValueError("no number of bits")
        if any(n_bytes < 0 for _, _, n_bytes, _ in entries):
            raise ValueError("a negative size")
        return mark
    except _DAMAGE as error:
        raise ModelError(f"{source}: the mark of onnxzip is damaged: {text[:60]}") from error


def _parse_judgement(metric: str, limit: float | None, on_data: int) -> Judgement:
    if not isinstance(metric, str) or not (limit is None or 0 < float(limit) < np.inf):
        raise ValueError("no metric, or no limit")
    return Judgement(metric, None if limit is None else float(limit), bool(on_data))


def _rows(record: Mapping[str, Any], version: int) -> Iterator[tuple[Any, Any, Any, Any]]:
    """Yield (pass name, form, bytes, error) of each weight."""
    if version == 1:
        yield from record["w"]
        return
    flat = list(record["w"])
    for place, n_bytes, error in zip(flat[::3], flat[1::3], flat[2::3], strict=True):
        if place < 0:
            raise ValueError("a negative position")
        name, form = record["p"][place]
        yield name, form, n_bytes, error


def float_initializers(model: Model) -> dict[str, Array]:
    """Return the main graph's detached initializers of a float type."""
    return {
        t.name: model.arrays[t.name]
        for t in model.proto.graph.initializer
        if t.name in model.arrays and float_dtype(t) is not None
    }
