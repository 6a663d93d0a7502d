"""Files are what protobuf would write, to the byte, and arrays are not copied for that."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from onnxzip.disk.own_copy import as_bytes, share_with_disk
from onnxzip.graph import n_bytes_of, read_model, to_proto
from onnxzip.graph.writing.serialised import n_serialised, serialised
from tests.cases import CASES
from tests.test_models import MODELS

WIRE_TYPES = bytes.fromhex("a83e07 a13e0102030405060708 a53e01020304 ab3e3a0161ac3e")
"""Fields that no message of onnx.proto has: a varint, 8 bytes, 4 bytes, and a group with a field 7."""


def joined(model: onnx.ModelProto) -> tuple[bytes, bytes]:
    """Return the chunks of a model that was read, and what protobuf makes of it."""
    read = read_model(model)
    chunks = serialised(read)
    found = b"".join(
        chunk if isinstance(chunk, bytes) else as_bytes(chunk).tobytes() for chunk in chunks
    )
    assert len(found) == n_serialised(chunks) == n_bytes_of(read)
    return found, to_proto(read).SerializeToString(deterministic=True)


@pytest.mark.parametrize("name", sorted(CASES))
def test_bytes_are_those_of_protobuf(name: str) -> None:
    found, wanted = joined(CASES[name].build())
    assert found == wanted


def test_bytes_of_real_models() -> None:
    for path in sorted(MODELS.glob("*.onnx")):
        found, wanted = joined(onnx.load(path))
        assert found == wanted


def test_what_stands_around_the_arrays_stays() -> None:
    """Texts behind the values of a tensor, entries behind the graph, and fields that nobody knows."""
    model = CASES["two_layer_perceptron"].build()
    for tensor in model.graph.initializer:
        tensor.doc_string = "weights " * 40
        tensor.MergeFromString(WIRE_TYPES)
    model.graph.doc_string = "a graph"
    model.graph.MergeFromString(WIRE_TYPES)
    model.MergeFromString(WIRE_TYPES)
    model.metadata_props.add(key="k", value="v" * 300)
    found, wanted = joined(model)
    assert found == wanted
    assert found.count(WIRE_TYPES) == len(model.graph.initializer) + 2


def test_arrays_are_not_copied(tmp_path: Path) -> None:
    model = read_model(CASES["two_layer_perceptron"].build())
    chunks = serialised(model)
    assert [id(chunk) for chunk in chunks if not isinstance(chunk, bytes)] == list(
        map(id, model.arrays.values())
    )
    (mapped,) = share_with_disk([np.arange(10.0)])
    assert np.shares_memory(as_bytes(mapped), mapped)
