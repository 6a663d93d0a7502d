"""Changes of what makes a compressed file one: the mark, and what its decode nodes read."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import onnx

from onnxzip.graph import read_model
from onnxzip.graph.writing.mark import payload_checksum
from tests.fuzz.extremes import INTEGERS, NAMES, NUMBERS, pick

KEY = "onnxzip"
"""Key of the mark among a model's metadata (onnxzip/graph/writing/decoder_view.py)."""

_DEEP = "[" * 100_000
_LONG = "9" * 5_000


def change_mark(rng: np.random.Generator, model: onnx.ModelProto) -> str:
    """Change the mark's text or one of its values; return what was done."""
    (entry,) = [entry for entry in model.metadata_props if entry.key == KEY]
    how = rng.integers(5)
    if how == 0:
        at = int(rng.integers(len(entry.value)))
        entry.value = (
            entry.value[:at] + str(pick(rng, (*NAMES, "}", "1e999", _LONG))) + entry.value[at + 1 :]
        )
        return "text of the mark"
    if how == 1:
        entry.value = str(pick(rng, ("", "null", "[]", "{}", _DEEP, '{"v":' + _DEEP, _LONG, "NaN")))
        return "whole mark"
    if how == 2:
        model.metadata_props.add(key=KEY, value=entry.value)
        return "two marks"
    record = json.loads(entry.value)
    change_value(rng, record)
    entry.value = json.dumps(record)
    return "a value of the mark"


def change_value(rng: np.random.Generator, holder: Any) -> None:
    """Change, drop or add one value of nested dicts and lists."""
    keys = list(holder) if isinstance(holder, dict) else list(range(len(holder)))
    if not keys:
        return
    key = pick(rng, keys)
    if isinstance(holder[key], dict | list) and holder[key] and rng.random() < 0.8:
        change_value(rng, holder[key])
    elif rng.random() < 0.15:
        del holder[key]
    else:
        others = (*INTEGERS, *NUMBERS, *NAMES, None, [], {}, True, 10**400, [[1]], holder[key])
        holder[key] = pick(rng, others)


def change_payload(rng: np.random.Generator, model: onnx.ModelProto, *, forge: bool) -> str:
    """Change what the decode nodes read, or one of these; return what was done.

    Args:
        rng: draws.
        model: a compressed model; changed in place.
        forge: whether to put the checksum right, so that only the decoder itself can tell.
    """
    (entry,) = [entry for entry in model.metadata_props if entry.key == KEY]
    record = json.loads(entry.value)
    n_nodes = int(record["n"])
    nodes = model.graph.node[:n_nodes]
    read = {name for node in nodes for name in node.input}
    tensors = [t for t in model.graph.initializer if t.name in read and t.raw_data]
    if rng.random() < 0.7 or not tensors:
        done = _change_bytes(rng, pick(rng, tensors)) if tensors else "nothing"
    else:
        done = _change_node(rng, pick(rng, nodes))
    if forge:
        try:
            record["c"] = payload_checksum(read_model(model), n_nodes)
        except Exception:  # not even readable any more: then it is refused for that
            return f"{done}, checksum left"
        entry.value = json.dumps(record, separators=(",", ":"))
    return done


def _change_bytes(rng: np.random.Generator, tensor: onnx.TensorProto) -> str:
    data = np.frombuffer(tensor.raw_data, np.uint8).copy()
    n_bytes = int(pick(rng, (1, 1, 4, data.size)))
    start = int(rng.integers(data.size))
    part = data[start : start + n_bytes]
    part[:] = pick(rng, (rng.integers(0, 256, part.size), 0, 255, 127, 128))
    tensor.raw_data = data.tobytes()
    return f"{n_bytes} bytes of a payload"


def _change_node(rng: np.random.Generator, node: onnx.NodeProto) -> str:
    operators = (
        "Expand",
        "Tile",
        "Range",
        "ConstantOfShape",
        "Loop",
        "Pad",
        "Resize",
        "NonZero",
        "OneHot",
    )
    if node.attribute and rng.random() < 0.5:
        attribute = pick(rng, node.attribute)
        attribute.i = int(pick(rng, INTEGERS))
        attribute.f = float(pick(rng, NUMBERS))
        return "attribute of a decode node"
    if rng.random() < 0.5:
        node.op_type = pick(rng, operators)
        return f"a decode node became {node.op_type}"
    node.input[int(rng.integers(len(node.input)))] = pick(rng, list(node.input))
    return "input of a decode node"


def change_bytes(rng: np.random.Generator, data: bytes, other: bytes) -> bytes:
    """Change a file's bytes: flip, cut, insert, repeat, splice with another file."""
    whole = bytearray(data)
    for _ in range(int(pick(rng, (1, 1, 2, 8)))):
        at = int(rng.integers(len(whole) + 1))
        n_bytes = int(pick(rng, (1, 2, 16, 500)))
        how = rng.integers(6)
        if how == 0 and at < len(whole):
            whole[at] ^= 1 << int(rng.integers(8))
        elif how == 1:
            del whole[at : at + n_bytes]
        elif how == 2:
            whole[at:at] = rng.bytes(n_bytes)
        elif how == 3:
            whole[at:at] = whole[at : at + n_bytes]
        elif how == 4:
            whole[at : at + n_bytes] = bytes([int(pick(rng, (0, 255, 127, 8)))]) * n_bytes
        else:
            whole[at:] = other[int(rng.integers(len(other) + 1)) :]
    return bytes(whole)
