"""Marks a compressed model, and takes its decode subgraph apart again.

The mark is one metadata entry, "onnxzip": a JSON object with the format version `v`, the number of
decode nodes `n` (they are the first nodes of the main graph), a checksum `c` of all that they read, the
methods `p`, `[pass name, form]` each, and `w`: for each decoded value, in the order in which the nodes
produce it, the three numbers method, bytes, error; `r`, `[how many, bits]`, stands for the small rounded
tensors that come last. In version 1 `w` is a list of `[pass name, form, bytes, error]`, and there is no
`p` and no `r`.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx

from onnxzip.errors import ModelError
from onnxzip.graph.model import (
    Model,
    add_initializer,
    float_dtype,
    tensor_array,
    tensor_dtype,
)
from onnxzip.graph.scope import reads_of
from onnxzip.graph.shapes import decoder_types
from onnxzip.types import Array

KEY = "onnxzip"
FORMAT_VERSION = 2


@dataclass(frozen=True)
class StoredValue:
    """What the mark says about one decoded value.

    Attributes:
        name: the value's name: the weight's own for the stored form.
        shape: as inferred, or from its value_info entry.
        n_bytes: bytes it was estimated to take when it was written.
        error: Candidate.error; None for rounded tensors, whose errors are not recorded.
    """

    name: str
    pass_name: str
    form: str
    shape: tuple[int, ...]
    n_bytes: int
    error: float | None


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


def decoded_names(model: Model, n_nodes: int) -> list[str]:
    """Return the values that the first `n_nodes` nodes make for the others, in node order."""
    nodes = model.proto.graph.node
    read: set[str] = {v.name for v in model.proto.graph.output}
    for node in nodes[n_nodes:]:
        read |= set(reads_of(node))
    return [output for node in nodes[:n_nodes] for output in node.output if output in read]


def stamp(
    model: Model,
    n_nodes: int,
    origin: Mapping[str, tuple[str, str, int, float]],
    rounded: Mapping[str, int] | None = None,
    judged: Judgement | None = None,
) -> None:
    """Write the mark.

    Args:
        model: the compressed model, changed in place.
        n_nodes: number of its decode nodes.
        origin: (pass name, form, bytes, error) by decoded value; ("", "computed", 0, 0) for others.
        rounded: bits of the small tensors that are decoded behind all others, by name.
        judged: what to judge the file by when it is tested; None for the defaults.
    """
    names = decoded_names(model, n_nodes)
    n_rounded = len(rounded or {})
    values = [origin.get(n, ("", "computed", 0, 0.0)) for n in names[: len(names) - n_rounded]]
    methods = list(dict.fromkeys((name, form[:1]) for name, form, _, _ in values))
    entries = [
        number
        for name, form, n_bytes, error in values
        for number in (methods.index((name, form[:1])), n_bytes, float(f"{error:.2g}"))
    ]
    checksum = payload_checksum(model, n_nodes)
    record = {"v": FORMAT_VERSION, "n": n_nodes, "c": checksum, "p": methods, "w": entries}
    if rounded:
        record["r"] = [n_rounded, max(rounded.values())]
    if judged:
        record["m"] = [judged.metric, judged.limit, int(judged.on_data)]
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
    """Whether what the decode nodes read is what was stamped."""
    text = next(entry.value for entry in model.proto.metadata_props if entry.key == KEY)
    n_nodes, _ = read_stamp(model)
    return bool(json.loads(text).get("c") == payload_checksum(model, n_nodes))


def is_stamped(model: Model) -> bool:
    """Whether the model carries the mark of onnxzip."""
    return any(entry.key == KEY for entry in model.proto.metadata_props)


def read_stamp(model: Model) -> tuple[int, list[StoredValue]]:
    """Return the number of decode nodes and what each decoded value is.

    Raises:
        ModelError: there is no mark, or it does not fit the graph.
    """
    mark = _read_mark(model)
    n_nodes = mark.n_nodes
    names = decoded_names(model, n_nodes) if 0 < n_nodes <= len(model.proto.graph.node) else []
    shapes = {name: _shape(value) for name, value in decoder_types(model, n_nodes).items()}
    n_found = sum(name in shapes for name in names)
    n_marked = len(mark.entries) + mark.n_rounded
    if not len(names) == n_marked == n_found:
        raise ModelError(
            f"{model.source}: the mark of onnxzip names {n_marked} weights but the graph decodes "
            f"{n_found}: it was changed after onnxzip wrote it"
        )
    values = [
        StoredValue(name, pass_name, "stored" if form == "s" else "computed", shapes[name], size, error)
        for name, (pass_name, form, size, error) in zip(names, mark.entries, strict=False)
    ]
    for name in names[len(mark.entries) :]:
        n_bytes = int(np.prod(shapes[name])) * mark.n_bits // 8
        values.append(StoredValue(name, "rounding", "stored", shapes[name], n_bytes, None))
    return n_nodes, values


def read_judgement(model: Model) -> Judgement | None:
    """Return what a stamped model was judged by, None for the defaults.

    Raises:
        ModelError: there is no mark, or it is damaged.
    """
    return _read_mark(model).judged


def _read_mark(model: Model) -> _Mark:
    texts = [entry.value for entry in model.proto.metadata_props if entry.key == KEY]
    if not texts:
        raise ModelError(f"{model.source}: was not written by onnxzip (its mark is missing)")
    mark = _parse_mark(texts[0], model.source)
    if mark.version > FORMAT_VERSION:
        raise ModelError(f"{model.source}: format {mark.version} is newer than this onnxzip; upgrade it")
    return mark


@dataclass(frozen=True)
class _Mark:
    """The mark as it is read: (pass name, form, bytes, error) of each weight, then the rounded ones."""

    version: int
    n_nodes: int = 0
    entries: tuple[tuple[str, str, int, float], ...] = ()
    n_rounded: int = 0
    n_bits: int = 0
    judged: Judgement | None = None


def _parse_mark(text: str, source: str) -> _Mark:
    try:
        record = json.loads(text)
        version = int(record["v"])
        if version > FORMAT_VERSION:
            return _Mark(version)
        n_rounded, n_bits = record.get("r", (0, 0))
        entries = tuple((str(a), str(b), int(c), float(d)) for a, b, c, d in _rows(record, version))
        judged = _parse_judgement(*record["m"]) if "m" in record else None
        mark = _Mark(version, int(record["n"]), entries, int(n_rounded), int(n_bits), judged)
        if mark.n_nodes < 1 or mark.n_rounded < 0 or (not entries and not mark.n_rounded):
            raise ValueError("nothing is decoded")
        if mark.n_rounded and mark.n_bits not in (8, 16):
            raise ValueError("no number of bits")
        return mark
    except (ValueError, LookupError, TypeError, AttributeError, ArithmeticError) as error:
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


def decoder(model: Model, n_nodes: int) -> Model:
    """Return a model without inputs whose outputs are the decoded values.

    bfloat16 values come out as float32, exactly: onnxruntime's Python interface has no bfloat16.
    """
    result = Model(onnx.ModelProto(), {}, model.source)
    proto, graph = result.proto, result.proto.graph
    proto.ir_version = model.proto.ir_version
    proto.opset_import.extend(model.proto.opset_import)
    graph.name = "decoder"
    graph.node.extend(model.proto.graph.node[:n_nodes])
    read = {name for node in graph.node for name in node.input}
    for tensor in model.proto.graph.initializer:
        if tensor.name in read:
            graph.initializer.append(tensor)
            if tensor.name in model.arrays:
                result.arrays[tensor.name] = model.arrays[tensor.name]
    types = decoder_types(model, n_nodes)
    wanted = set(decoded_names(model, n_nodes))
    graph.output.extend(types[name] for name in types if name in wanted)
    _widen_bfloat16(graph)
    made = {o for node in graph.node for o in node.output} - wanted
    graph.value_info.extend(v for v in model.proto.graph.value_info if v.name in made)
    return result


def _widen_bfloat16(graph: onnx.GraphProto) -> None:
    """Put a Cast to float32 behind every bfloat16 output, which keeps its name."""
    for output in graph.output:
        if output.type.tensor_type.elem_type != onnx.TensorProto.BFLOAT16:
            continue
        narrow = f"{output.name}/bfloat16"
        for node in graph.node:
            for i, name in enumerate(node.output):
                if name == output.name:
                    node.output[i] = narrow
            for i, name in enumerate(node.input):
                if name == output.name:
                    node.input[i] = narrow
        graph.node.append(
            onnx.helper.make_node("Cast", [narrow], [output.name], to=onnx.TensorProto.FLOAT)
        )
        output.type.tensor_type.elem_type = onnx.TensorProto.FLOAT


def with_plain_weights(model: Model, n_nodes: int, weights: Mapping[str, Array]) -> Model:
    """Return the model without its decode nodes, the decoded values stored as initializers."""
    result = model.copy()
    graph = result.proto.graph
    made = {o for node in graph.node[:n_nodes] for o in node.output}
    _delete(graph.node, range(n_nodes))
    _delete(graph.value_info, [i for i, v in enumerate(graph.value_info) if v.name in made])
    read: set[str] = {v.name for v in (*graph.output, *graph.input)}
    for node in graph.node:
        read |= set(reads_of(node))
    unread = [i for i, t in enumerate(graph.initializer) if t.name not in read]
    for i in unread:
        result.arrays.pop(graph.initializer[i].name, None)
    _delete(graph.initializer, unread)
    for name, array in weights.items():
        add_initializer(result, name, array)
    marks = [i for i, e in enumerate(result.proto.metadata_props) if e.key == KEY]
    _delete(result.proto.metadata_props, marks)
    return result


def _delete(field: Sequence[object], positions: Sequence[int]) -> None:
    for i in sorted(positions, reverse=True):
        del field[i]  # type: ignore[attr-defined]  # a repeated protobuf field


def _shape(value: onnx.ValueInfoProto) -> tuple[int, ...]:
    return tuple(d.dim_value for d in value.type.tensor_type.shape.dim)


def decoded_types(model: Model, n_nodes: int) -> dict[str, np.dtype[np.generic]]:
    """Return the element types of what the first `n_nodes` nodes make, by value name."""
    return {
        name: tensor_dtype(value.type.tensor_type.elem_type)
        for name, value in decoder_types(model, n_nodes).items()
    }


def decode_inputs(model: Model) -> set[str]:
    """Return the names of the initializers that only the decoder reads."""
    if not is_stamped(model):
        return set()
    n_nodes, _ = read_stamp(model)
    return {name for node in model.proto.graph.node[:n_nodes] for name in node.input}


def float_initializers(model: Model) -> dict[str, Array]:
    """Return the main graph's detached initializers of a float type."""
    return {
        t.name: model.arrays[t.name]
        for t in model.proto.graph.initializer
        if t.name in model.arrays and float_dtype(t) is not None
    }
