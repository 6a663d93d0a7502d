"""Which node of a graph a kernel of a session belongs to, by what onnxruntime calls it.

Tried on 1.32: QLinearMatMul, MatMulIntegerToFloat, DynamicQuantizeMatMul and FusedConv have the name of
the Conv or MatMul in them, QLinearConv with what makes it unique where the optimiser for channels that
come last has made it anew ("conv_token_1"). A fusion may add a word ("fc/MatMulAddFusion", a Gemm, or
"fused fc", with its activation), and a kernel for blocks of channels has the name of the value that it
makes ("relu_out_nchwc").
"""

from __future__ import annotations

import re

from onnxzip.graph.reading.model import Model
from onnxzip.graph.reading.scope import iter_bodies

_UNIQUE = re.compile(r"_token_\d+$")
_FUSED = re.compile(r"/\w*Fusion(?:/.*)?$")
_ACTIVATED, _BLOCKED = "fused ", "_nchwc"


class KernelOwners:
    """Says which node a kernel belongs to.

    Args:
        model: as it is handed to the session; its nodes have names, each another (`with_node_names`).
    """

    def __init__(self, model: Model) -> None:
        """Read the names; see the class."""
        nodes = [node for body in iter_bodies(model.proto) for node in body.node]
        self._names = {node.name for node in nodes}
        self._makers = {output: node for node in nodes for output in node.output}

    def owner(self, name: str, op_type: str) -> str:
        """Return the name of a kernel's node, where it has none its own, without what makes it unique.

        Reorders and transpositions that onnxruntime adds belong to no node.

        Args:
            name: of the kernel.
            op_type: its operator.
        """
        plain = _UNIQUE.sub("", name)
        for found in (name, plain, _FUSED.sub("", plain.removeprefix(_ACTIVATED))):
            if found in self._names:
                return found
        return self._maker(plain.removesuffix(_BLOCKED), op_type) or plain

    def _maker(self, value: str, op_type: str) -> str:
        """Return the node of an operator that makes a value, other nodes may be fused behind it."""
        seen: set[str] = set()
        while value in self._makers and value not in seen:
            seen.add(value)
            node = self._makers[value]
            if node.op_type == op_type or not node.input:
                return str(node.name) if node.op_type == op_type else ""
            value = node.input[0]
        return ""
