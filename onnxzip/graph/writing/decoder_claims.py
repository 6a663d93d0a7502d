"""What the decoder of a marked file is going to make and cost, worked out before any of it runs."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import onnx

from onnxzip.errors import ModelError
from onnxzip.graph.reading.costs.liveness import most_in_use
from onnxzip.graph.reading.model import Model
from onnxzip.graph.reading.scope import read_by
from onnxzip.graph.writing.decoder_rules import ForeignError, Value, is_number_type, outputs_of

_FREE_BYTES = 1 << 28
"""What any decoder may make, and need: 256 MB are no attack."""

_MOST_DECODED = 1000
"""Bytes made for each byte of the decoder, at most, beyond that. Of weights that are not constant, two
factors of rank 1 come nearest: 300 for a matrix of 256 MB."""

_MOST_NEEDED = 64
"""Bytes in use at once for each byte of the decoder and of what it makes: of 469 files up to 44, where
little is entropy coded."""

_MOST_WORK = 1 << 16
"""Operations for each byte of the decoder, beyond the free ones: a byte holds up to 16 numbers, each of
which is multiplied with a basis of 4096 rows at most. Of 469 files up to 2,100."""

_FREE_WORK = 1 << 31
"""Operations that any decoder may do: one to three seconds of a core."""


@dataclass(frozen=True)
class Claims:
    """What a decoder makes and costs.

    Attributes:
        values: what its nodes make, by name, in their order.
        decoded: names of those that the rest of the model reads.
        n_stored_bytes: bytes of what it reads.
        n_needed_bytes: bytes in use at once, at most, if what nobody reads any more is freed.
        n_operations: multiplications or moves of a number.
    """

    values: Mapping[str, Value]
    decoded: tuple[str, ...]
    n_stored_bytes: int
    n_needed_bytes: int
    n_operations: int

    @property
    def n_decoded_bytes(self) -> int:
        """Bytes of what is decoded."""
        return sum(self.values[name].n_bytes for name in self.decoded)

    def excess(self, n_decoder_bytes: int) -> str:
        """Say what is out of all proportion to the size of the decoder in its file; "" for nothing."""
        n_decoded, n_needed = self.n_decoded_bytes, self.n_needed_bytes
        if n_decoded > _FREE_BYTES + _MOST_DECODED * n_decoder_bytes:
            return f"makes {n_decoded:,} bytes of {n_decoder_bytes:,}"
        if n_needed > _FREE_BYTES + _MOST_NEEDED * (n_decoded + n_decoder_bytes):
            return f"needs {n_needed:,} bytes to make {n_decoded:,}"
        if self.n_operations > _FREE_WORK + _MOST_WORK * n_decoder_bytes:
            return f"needs {self.n_operations:,} operations for {n_decoder_bytes:,} bytes"
        return ""


def claims_of(model: Model, n_nodes: int) -> Claims:
    """Work out what the first `n_nodes` nodes of a model make.

    Raises:
        ModelError: they are no decoder of ours.
    """
    nodes = model.proto.graph.node[:n_nodes]
    known = dict(_stored_values(model, read_by(nodes)))
    n_stored_bytes = sum(value.n_bytes for value in known.values())
    made: dict[str, Value] = {}
    for index, node in enumerate(nodes):
        try:
            if missing := [name for name in node.input if name not in known]:
                raise ForeignError(f"reads {missing[0]!r}, which is neither stored nor made before")
            values = outputs_of(node, [known[name] for name in node.input])
            for name, value in zip(node.output, values, strict=True):
                if not name or name in known:
                    raise ForeignError(f"makes {name!r}, which is there already")
                known[name] = made[name] = value
        except ForeignError as error:
            raise ModelError(
                f"{model.source}: node {index} of the decoder ({node.op_type}) {error}: "
                "onnxzip wrote no such decoder; get the file from where it was made"
            ) from error
    decoded = tuple(_read_behind(model, n_nodes, made))
    needed = most_in_use(nodes, {name: value.n_bytes for name, value in made.items()}, decoded)
    return Claims(made, decoded, n_stored_bytes, needed, sum(_work_of(node, known) for node in nodes))


def _read_behind(model: Model, n_nodes: int, made: Collection[str]) -> Iterator[str]:
    """Yield what the first nodes make for the others, or for the model's user, in node order."""
    graph = model.proto.graph
    read = {value.name for value in graph.output} | read_by(graph.node[n_nodes:])
    yield from (name for name in made if name in read)


def _stored_values(model: Model, read: Collection[str]) -> Iterator[tuple[str, Value]]:
    """Yield the initializers that are read; lists of whole numbers with what they hold."""
    for tensor in model.proto.graph.initializer:
        if tensor.name not in read:
            continue
        if not is_number_type(tensor.data_type):
            raise ModelError(
                f"{model.source}: the decoder reads {tensor.name!r}, which is no numbers: "
                "onnxzip wrote no such decoder; get the file from where it was made"
            )
        shape = tuple(tensor.dims)
        is_list = len(shape) == 1 and tensor.data_type == onnx.TensorProto.INT64
        numbers = tuple(map(int, np.asarray(model.array(tensor)))) if is_list else None
        yield tensor.name, Value(tensor.data_type, shape, numbers)


def _work_of(node: onnx.NodeProto, known: Mapping[str, Value]) -> int:
    """Return how many numbers a node moves, or multiplies."""
    n_moved = sum(known[name].n_elements for name in node.output)
    if node.op_type == "MatMul":
        return n_moved * known[node.input[0]].shape[-1]
    return n_moved + sum(known[name].n_elements for name in node.input)
