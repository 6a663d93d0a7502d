"""The part of `passbase.Builder` that decoders need, and one that only counts bytes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np

from onnxzip.records.aliases import Array, AttributeValue

_N_SHORT_NAMES, _MAX_SHARED_BYTES, _MAX_SHORT_BYTES = 52, 4096, 127


class Builder(Protocol):
    """The part of `passbase.Builder` that decoders need."""

    def constant(self, array: Array, hint: str) -> str:
        """Add an initializer."""

    def node(
        self,
        op_type: str,
        inputs: Sequence[str],
        shape: Sequence[int],
        dtype: type[np.generic],
        **attributes: AttributeValue,
    ) -> str:
        """Add a node with one output."""

    def reshape(self, value: str, shape: Sequence[int], dtype: type[np.generic] = np.float32) -> str:
        """Add a Reshape."""

    def split(
        self, value: str, shapes: Sequence[Sequence[int]], dtype: type[np.generic], axis: int = 0
    ) -> list[str]:
        """Add a Split."""


class ByteMeter:
    """A builder that only counts what names, nodes and tensors take in the file."""

    opset = 17

    def __init__(self) -> None:
        self.n_bytes = 0
        self._known: set[tuple[str, tuple[int, ...], bytes]] = set()
        self._n_names = 0

    def _new_name(self) -> str:
        self._n_names += 1
        return "n" if self._n_names <= _N_SHORT_NAMES else "nn"

    def constant(self, array: Array, hint: str) -> str:
        """Count an initializer, once."""
        key = (
            array.dtype.str,
            array.shape,
            array.tobytes() if array.nbytes < _MAX_SHARED_BYTES else b"",
        )
        if key[2] and key in self._known:
            return "n"
        self._known.add(key)
        self.n_bytes += array.nbytes + 2 * array.ndim + 12 + 4 * (array.nbytes > _MAX_SHORT_BYTES)
        return self._new_name()

    def _node(
        self,
        op_type: str,
        inputs: Sequence[str],
        shapes: Sequence[Sequence[int]],
        attributes: Mapping[str, AttributeValue],
    ) -> list[str]:
        """Count a node: 14 bytes an attribute; shapes of values are left to inference."""
        self.n_bytes += len(op_type) + 4 + sum(len(name) + 2 for name in inputs) + 14 * len(attributes)
        self.n_bytes += 4 * len(shapes)
        return [self._new_name() for _ in shapes]

    def node(
        self,
        op_type: str,
        inputs: Sequence[str],
        shape: Sequence[int],
        dtype: type[np.generic],
        **attributes: AttributeValue,
    ) -> str:
        """Count a node."""
        return self._node(op_type, inputs, [shape], attributes)[0]

    def reshape(self, value: str, shape: Sequence[int], dtype: type[np.generic] = np.float32) -> str:
        """Count a Reshape."""
        target = self.constant(np.asarray(shape, np.int64), "shape")
        return self._node("Reshape", [value, target], [shape], {})[0]

    def split(
        self, value: str, shapes: Sequence[Sequence[int]], dtype: type[np.generic], axis: int = 0
    ) -> list[str]:
        """Count a Split."""
        sizes = self.constant(np.array([shape[axis] for shape in shapes], np.int64), "sizes")
        return self._node("Split", [value, sizes], shapes, {"axis": axis})
