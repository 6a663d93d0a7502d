"""Makes the values that weights are multiplied with the outputs of a copy."""

from __future__ import annotations

from collections.abc import Sequence

import onnx

from onnxzip.graph.changing.fresh_names import FreshNames
from onnxzip.graph.changing.prune import prune
from onnxzip.graph.reading.model import Model
from onnxzip.graph.reading.operands import RECURRENT_STATES, Operand


def with_operand_outputs(model: Model, operands: Sequence[Operand]) -> tuple[Model, dict[str, str]]:
    """Return a copy of what of the model makes the exposed values, its only outputs.

    Returns:
        The model, and each value's name in it; graph inputs and constants are left out.
    """
    return with_value_outputs(model, [operand.value for operand in operands])


def with_value_outputs(model: Model, values: Sequence[str]) -> tuple[Model, dict[str, str]]:
    """Return a copy of what makes values of the main graph, its only outputs; see above."""
    exposed = model.copy()
    graph = exposed.proto.graph
    fresh = FreshNames(exposed.names())
    made = {output for node in graph.node for output in node.output}
    names: dict[str, str] = {}
    for value in dict.fromkeys(values):
        if value.startswith(RECURRENT_STATES):
            names[value] = _name_states(graph, value.removeprefix(RECURRENT_STATES), fresh)
        elif value in made:
            names[value] = value
    del graph.output[:]
    graph.output.extend(onnx.helper.make_empty_tensor_value_info(name) for name in names.values())
    if names:  # onnxruntime loads no empty graph, and runs what no output needs
        prune(exposed)
    return exposed, names


def _name_states(graph: onnx.GraphProto, output: str, fresh: FreshNames) -> str:
    """Return the name of all hidden states of the recurrent node that makes `output`."""
    node = next(node for node in graph.node if output in node.output)
    if not node.output[0]:
        node.output[0] = fresh.new("states")
    return str(node.output[0])
