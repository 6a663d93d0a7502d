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
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import onnx

from onnxzip.errors import ModelError, VerificationError
from onnxzip.graph.reading.model import MIN_DETACHED_BYTES, Model
from onnxzip.graph.reading.tensors import PLAIN_TYPES, n_elements, n_raw_bytes, tensor_array
from onnxzip.graph.reading.weights import MIN_ELEMENTS, find_weights
from onnxzip.graph.writing.decoder_claims import claims_of
from onnxzip.graph.writing.decoder_view import KEY, decoded_names, decoder_bytes
from onnxzip.graph.writing.mark_text import (
    FORMAT_VERSION,
    Judgement,
    MarkText,
    RoundedValues,
    parse_mark,
)
from onnxzip.graph.writing.origin import UNKNOWN_ORIGIN, Origin, origin_fields
from onnxzip.records.shares import apportion

STEPS = "steps"
"""The method of decoded values that are no weights but the steps of some, of DequantizeLinear."""

_STORED = "s"
_FORMS = {_STORED: "stored", "c": "computed"}
"""What decoded values are: weights; in older files also the factors of nodes that stand for another."""

_NOTHING_ROUNDED = RoundedValues()


@dataclass(frozen=True)
class StoredValue:
    """What the mark says about one decoded value.

    Attributes:
        name: the value's name: the weight's own where its form is "stored".
        form: "stored"; "computed" in files that older versions wrote, see `_FORMS`.
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


def write_mark(
    model: Model,
    n_nodes: int,
    origin: Mapping[str, tuple[str, int, float]],
    rounded: RoundedValues = _NOTHING_ROUNDED,
    judged: Judgement | None = None,
    made_from: Origin = UNKNOWN_ORIGIN,
) -> None:
    """Write the mark.

    Args:
        model: the compressed model, changed in place.
        n_nodes: number of its decode nodes.
        origin: (pass name, bytes, error) of the decoded values that are no small tensors, by name.
        rounded: the small tensors.
        judged: what to judge the file by when it is tested; None for the defaults.
        made_from: the original, and what is not proven.

    Raises:
        VerificationError: the decoder makes so much of so little that `read_mark` would refuse it.
    """
    names = decoded_names(model, n_nodes)
    if excess := claims_of(model, n_nodes).excess(decoder_bytes(model, n_nodes)):
        raise VerificationError(
            f"the decoder {excess}, which a reader takes for an attack; leave weights that are constant "
            "as they are with `keep`"
        )
    values = [origin[name] for name in names[: len(names) - rounded.n_values]]
    methods = list(dict.fromkeys(pass_name for pass_name, _, _ in values))
    entries = [
        number
        for pass_name, n_bytes, error in values
        for number in (methods.index(pass_name), n_bytes, float(f"{error:.2g}"))
    ]
    checksum = payload_checksum(model, n_nodes)
    record: dict[str, object] = {
        "v": FORMAT_VERSION,
        "n": n_nodes,
        "c": checksum,
        "p": [(pass_name, _STORED) for pass_name in methods],
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
    mark = _find_mark(model)
    return mark.checksum == payload_checksum(model, mark.n_nodes)


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
    if n_nodes > len(model.proto.graph.node):
        raise _no_fit(model, f"has {n_nodes} decode nodes but the graph {len(model.proto.graph.node)}")
    claims = claims_of(model, n_nodes)
    names, shapes = claims.decoded, {name: claims.values[name].shape for name in claims.decoded}
    n_marked = len(mark.entries) + mark.rounded.n_values
    if len(names) != n_marked:
        raise _no_fit(model, f"names {n_marked} weights but the graph decodes {len(names)}")
    n_decoder_bytes = decoder_bytes(model, n_nodes)
    if excess := claims.excess(n_decoder_bytes):
        raise ModelError(
            f"{model.source}: the decoder {excess}, more than any of ours: it is not decoded; "
            "get the file from where it was made"
        )
    values = [
        StoredValue(name, pass_name, _FORMS[form], shapes[name], size, error)
        for name, (pass_name, form, size, error) in zip(names, mark.entries, strict=False)
    ]
    small = {name: shapes[name] for name in names[len(mark.entries) :]}
    rest = n_decoder_bytes - sum(value.n_bytes for value in values)
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


def _no_fit(model: Model, finding: str) -> ModelError:
    return ModelError(
        f"{model.source}: the mark of onnxzip {finding}: it was changed after onnxzip wrote it; "
        "get the file from where it was made"
    )


def _find_mark(model: Model) -> MarkText:
    texts = [entry.value for entry in model.proto.metadata_props if entry.key == KEY]
    if not texts:
        raise ModelError(
            f"{model.source}: was not written by onnxzip (its mark is missing); "
            "its weights are plain as they are"
        )
    return parse_mark(texts[0], model.source)


def large_constants(model: Model) -> dict[str, tuple[str, tuple[int, ...], int]]:
    """Return type, shape and bytes of the constants that could be called weights, by name.

    Those of types that stay as they are, such as int4 and float8, are among them, and what Constant
    nodes and nested graphs hold.
    """
    found = {}
    for tensor in model.proto.graph.initializer:
        kind = _kind(tensor)
        n_bytes = n_raw_bytes(tensor) if kind != "string" else 0
        is_plain = tensor.data_type in PLAIN_TYPES
        if n_bytes >= MIN_DETACHED_BYTES if is_plain else n_bytes and n_elements(tensor) >= MIN_ELEMENTS:
            found[tensor.name] = (kind, tuple(tensor.dims), n_bytes)
    for weight in find_weights(model):
        if weight.scope.path or weight.holder is not None:
            tensor = weight.tensor
            found.setdefault(weight.name, (_kind(tensor), tuple(tensor.dims), n_raw_bytes(tensor)))
    return found


def _kind(tensor: onnx.TensorProto) -> str:
    """Return what an element type is called."""
    plain = PLAIN_TYPES.get(tensor.data_type)
    return plain.name if plain else onnx.TensorProto.DataType.Name(tensor.data_type).lower()
