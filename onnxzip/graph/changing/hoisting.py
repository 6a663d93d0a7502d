"""Moves weights out of bodies, functions and Constant nodes into initializers of the main graph.

Decode nodes have to live in the main graph (they are folded only there), so a weight is made an
initializer there before it is replaced. A graph body sees the main graph's names; a function does
not, so it gets one more input, and every call of it one more argument.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

import onnx

from onnxzip.graph.changing.fields import delete_if
from onnxzip.graph.changing.fresh_names import FreshNames
from onnxzip.graph.reading.layouts import companion_of
from onnxzip.graph.reading.model import Model, detach
from onnxzip.graph.reading.scope import Body, subgraphs
from onnxzip.graph.reading.tensors import element_type
from onnxzip.graph.reading.weights import Weight, find_weights, weight_array

MIN_IR_VERSION = 4
"""From here on an initializer need not be an input, and one that is may be overridden (ONNX's IR.md)."""


def hoist_weights(model: Model, names: Collection[str]) -> dict[str, str]:
    """Make the named weights main-graph initializers, in place.

    Returns:
        The initializer's name by layer name.
    """
    leave_ir3(model.proto)
    fresh = FreshNames(model.names())
    homes: dict[str, str] = {}
    for weight in find_weights(model):
        if weight.name in names:
            homes[weight.name] = _hoist(model, weight, fresh)
    return homes


def make_overridable(model: Model, homes: Mapping[str, str]) -> None:
    """Let a caller feed other values for hoisted weights, in place: they become optional inputs."""
    graph = model.proto.graph
    wanted = set(homes.values()) | companions(model, set(homes.values()))
    wanted -= {v.name for v in graph.input}
    graph.input.extend(as_input(t) for t in graph.initializer if t.name in wanted)


def companions(model: Model, names: Collection[str]) -> set[str]:
    """Return the main graph's initializers that must be no constants where the named ones are none."""
    graph = model.proto.graph
    initializers = {t.name for t in graph.initializer}
    found: set[str] = set()
    for node in graph.node:
        for index, name in enumerate(node.input):
            companion = companion_of(node, index) if name in names else None
            if companion is not None:
                found.add(node.input[companion])
    return (found & initializers) - set(names)


def as_input(tensor: onnx.TensorProto) -> onnx.ValueInfoProto:
    """Return the graph input of an initializer that a caller may override."""
    return onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, list(tensor.dims))


def leave_ir3(proto: onnx.ModelProto) -> None:
    """Raise the IR version to 4, below which every initializer has to be a graph input too.

    Those inputs are constants to a runtime at IR 3 and would become overridable ones at IR 4, so
    they stop being inputs: what a caller feeds stays the same.
    """
    if proto.ir_version >= MIN_IR_VERSION:
        return
    freeze_inputs(proto)
    proto.ir_version = MIN_IR_VERSION


def freeze_inputs(proto: onnx.ModelProto) -> None:
    """Let initializers be no inputs, in place, so that no caller can override their values."""
    initializers = {t.name for t in proto.graph.initializer}
    initializers |= {t.values.name for t in proto.graph.sparse_initializer}
    delete_if(proto.graph.input, lambda value: value.name in initializers)


def _hoist(model: Model, weight: Weight, fresh: FreshNames) -> str:
    graph = model.proto.graph
    in_main = weight.scope.path == ""
    if in_main and weight.holder is None:
        return weight.tensor_name
    array = weight_array(model, weight)
    home = weight.tensor_name if in_main else fresh.new(weight.tensor_name)
    tensor = onnx.TensorProto(name=home, data_type=element_type(array.dtype), dims=array.shape)
    body = weight.scope.body
    if weight.holder is not None:
        body.node.remove(weight.holder)
    else:
        assert isinstance(body, onnx.GraphProto)
        body.initializer.remove(weight.tensor)
    graph.initializer.append(tensor)
    detach(model, graph.initializer[-1], array)
    if in_main:
        return home
    for use in weight.uses:
        assert use.node is not None
        use.node.input[use.index] = home
    if weight.scope.function is not None:
        _add_function_input(model.proto, weight.scope.function, home, home)
    return home


def _add_function_input(
    proto: onnx.ModelProto, function: onnx.FunctionProto, name: str, argument: str
) -> None:
    """Append an input to a function and the argument to all its calls, through calling functions."""
    n_inputs = len(function.input)
    function.input.append(name)
    callers: list[onnx.FunctionProto] = []
    for owner in (None, *proto.functions):
        calls = [n for n in _nodes_of(proto, owner) if _calls(n, function)]
        for node in calls:
            node.input.extend([""] * (n_inputs - len(node.input)))
            node.input.append(argument)
        if calls and owner is not None and name not in owner.input:
            callers.append(owner)
    for caller in callers:
        _add_function_input(proto, caller, name, argument)


def _nodes_of(proto: onnx.ModelProto, owner: onnx.FunctionProto | None) -> list[onnx.NodeProto]:
    stack: list[Body] = [proto.graph if owner is None else owner]
    found: list[onnx.NodeProto] = []
    while stack:
        for node in stack.pop().node:
            found.append(node)
            stack.extend(subgraphs(node))
    return found


def _calls(node: onnx.NodeProto, function: onnx.FunctionProto) -> bool:
    same_overload = getattr(node, "overload", "") == getattr(function, "overload", "")
    return node.op_type == function.name and node.domain == function.domain and same_overload
