"""Tells which attributes of a node say no more than their absence would."""

from __future__ import annotations

from collections.abc import Mapping

import onnx

_WINDOWED = ("Conv", "ConvTranspose", "MaxPool", "AveragePool", "LpPool")
"""Operators that slide a window, whose default lists have no fixed length for a schema to state."""

_NEUTRAL_NUMBERS = {"strides": 1, "dilations": 1, "pads": 0}
"""What each number of such an operator's list is when the list is left out (ONNX operator schemas)."""


class Defaults:
    """The default attributes of all operators at a model's opsets."""

    def __init__(self, opsets: Mapping[str, int]) -> None:
        """Take versions by domain, "" for the standard one."""
        self._opsets = opsets
        self._known: dict[tuple[str, str], dict[str, bytes]] = {}

    def has(self, node: onnx.NodeProto, attribute: onnx.AttributeProto) -> bool:
        """Return whether an attribute may be left out without changing what the node computes."""
        if attribute.ref_attr_name:
            return False
        domain = "" if node.domain == "ai.onnx" else node.domain
        neutral = _NEUTRAL_NUMBERS.get(attribute.name)
        if not domain and node.op_type in _WINDOWED and neutral is not None:
            return attribute.type == attribute.INTS and all(n == neutral for n in attribute.ints)
        return plain_bytes(attribute) == self._of(domain, node.op_type).get(attribute.name)

    def _of(self, domain: str, op_type: str) -> dict[str, bytes]:
        key = (domain, op_type)
        if key not in self._known:
            try:
                schema = onnx.defs.get_schema(op_type, self._opsets.get(domain, 1), domain)
                values = {name: a.default_value for name, a in schema.attributes.items()}
                self._known[key] = {name: plain_bytes(v) for name, v in values.items() if v.name}
            except onnx.defs.SchemaError:
                self._known[key] = {}
        return self._known[key]


def opsets_of(proto: onnx.ModelProto) -> dict[str, int]:
    """Return a model's opset versions by domain, "" for the standard one."""
    return {"" if e.domain == "ai.onnx" else e.domain: e.version for e in proto.opset_import}


def plain_bytes(attribute: onnx.AttributeProto) -> bytes:
    """Return an attribute as bytes, without its doc string."""
    copy = onnx.AttributeProto()
    copy.CopyFrom(attribute)
    copy.ClearField("doc_string")
    return bytes(copy.SerializeToString(deterministic=True))
