"""Finds every weight and integer table of a model, wherever it sits, and says what its axes mean."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import onnx

from onnxzip.errors import ModelError
from onnxzip.graph.reading.layouts import (
    RECURRENT,
    companion_of,
    default_layout,
    is_known_domain,
    is_scale_input,
    is_shape_input,
    layout_of,
    node_attributes,
    permuted_layout,
)
from onnxzip.graph.reading.model import Model
from onnxzip.graph.reading.scope import Body, subgraphs
from onnxzip.graph.reading.tensors import (
    constant_value,
    extremes,
    float_dtype,
    is_kept_exactly,
    n_elements,
    n_raw_bytes,
    tensor_array,
)
from onnxzip.records.aliases import Array, AttributeValue
from onnxzip.records.elements.exact import is_exact, is_finite
from onnxzip.records.layer import Layer, Layout
from onnxzip.records.plan import Skip

MIN_ELEMENTS = 256
"""As float32 this is 1 KiB, most of which a dozen decode nodes (passbase.NODE_OVERHEAD_BYTES) take."""

MIN_INTEGER_BYTES = 1024
"""The same for tables of integers, which are only ever coded exactly."""

_WEIGHT_OPS = ("Conv", "ConvTranspose", "Gemm", "MatMul", *RECURRENT)
"""Operators whose weights are learnt: NaN or Inf in them is damage, elsewhere it may be a mask."""

_LEAST_MASK = 1e18
"""What stands for -Inf in masks (a guess, between -1e9, which is common too, and 3.4e38)."""

_FLOAT32 = (float(np.finfo(np.float32).tiny), float(np.finfo(np.float32).max))

_PASS_THROUGH = ("Identity", "Cast", "Transpose", "DequantizeLinear")
"""What stands between a weight and the operator that says what its axes mean."""


@dataclass(frozen=True, eq=False)
class Use:
    """One input of one node that reads a weight; `node` is None when a graph output does."""

    node: onnx.NodeProto | None
    index: int
    scope: Scope


@dataclass(frozen=True, eq=False)
class Weight:
    """A constant tensor of numbers: an initializer, or the output of a Constant node.

    Attributes:
        name: unique in the model; the tensor's own name in the main graph, else a path.
        tensor_name: the name nodes of its scope read it by.
        holder: the Constant node, None for an initializer.
    """

    name: str
    tensor_name: str
    scope: Scope
    tensor: onnx.TensorProto
    holder: onnx.NodeProto | None
    uses: list[Use] = field(default_factory=list)


@dataclass(frozen=True, eq=False)
class Scope:
    """A graph or function body and the names it defines (a Weight, or None for anything else)."""

    path: str
    body: Body
    parent: Scope | None
    function: onnx.FunctionProto | None
    defined: dict[str, Weight | None] = field(default_factory=dict)

    def resolve(self, name: str) -> Weight | None:
        """Return the weight that `name` means in this scope, None for any other value."""
        scope: Scope | None = self
        while scope is not None:
            if name in scope.defined:
                return scope.defined[name]
            scope = scope.parent
        return None


def find_weights(model: Model) -> list[Weight]:
    """Return all constant tensors that may be layers, with their uses.

    Those are float tensors of at least MIN_ELEMENTS elements, and tensors of integers, bools and 8-bit
    floats of at least MIN_INTEGER_BYTES: the smaller ones are scales, zero points, shapes and axes,
    which runtimes want constant from the start.
    """
    proto = model.proto
    roots = [Scope("", proto.graph, None, None)]
    roots += [Scope(f"{f.name}/", f, None, f) for f in proto.functions]
    weights: list[Weight] = []
    for root in roots:
        for scope in _walk(root, model):
            weights.extend(w for w in scope.defined.values() if w is not None)
    return _with_unique_names(weights)


def _with_unique_names(weights: list[Weight]) -> list[Weight]:
    """Number the weights whose path is another one's too: node names need not be unique."""
    taken = {w.name for w in weights if not w.scope.path}
    named: list[Weight] = []
    for weight in weights:
        name, count = weight.name, 2
        while weight.scope.path and name in taken:
            name, count = f"{weight.name}#{count}", count + 1
        taken.add(name)
        named.append(replace(weight, name=name))
    return named


def find_layers(model: Model) -> tuple[list[Layer], list[Skip]]:
    """Return the weights that may be changed as layers, and why the others may not.

    Raises:
        ModelError: a weight of a Conv, Gemm, MatMul, Gather or recurrent node holds NaN or Inf.
    """
    layers: list[Layer] = []
    skips: list[Skip] = []
    inputs = {v.name for v in model.proto.graph.input}
    for weight in find_weights(model):
        array = weight_array(model, weight)
        layer = _describe(weight, array)
        reason = _refusal(model, weight, layer, inputs)
        if reason:
            skips.append(Skip(weight.name, "graph", reason))
        else:
            layers.append(layer)
    return layers, skips


def weight_array(model: Model, weight: Weight) -> Array:
    """Return a weight's values, read-only."""
    is_initializer = weight.scope.path == "" and weight.holder is None
    return model.array(weight.tensor) if is_initializer else tensor_array(weight.tensor)


def _walk(scope: Scope, model: Model) -> Iterator[Scope]:
    """Fill a scope's names, resolve its reads, then visit its nested graphs; yield each scope."""
    body = scope.body
    if isinstance(body, onnx.GraphProto):
        scope.defined.update({v.name: None for v in body.input})
        for tensor in body.initializer:
            scope.defined[tensor.name] = _weight(scope, tensor.name, tensor, None)
    else:
        scope.defined.update(dict.fromkeys(body.input))
    for node in body.node:
        tensor = constant_value(node)
        for output in node.output:
            scope.defined[output] = tensor and _weight(scope, output, tensor, node)
    _record_uses(scope)
    for i_node, node in enumerate(body.node):
        for attribute_path, graph in named_subgraphs(node, i_node):
            yield from _walk(Scope(scope.path + attribute_path, graph, scope, scope.function), model)
    yield scope


def _record_uses(scope: Scope) -> None:
    """Tell each weight which nodes and outputs of this scope read it."""
    body = scope.body
    reads = [(node, index, name) for node in body.node for index, name in enumerate(node.input)]
    outputs = [v.name for v in body.output] if isinstance(body, onnx.GraphProto) else body.output
    for node, index, name in [*reads, *((None, i, name) for i, name in enumerate(outputs))]:
        weight = scope.resolve(name)
        if weight is not None:
            weight.uses.append(Use(node, index, scope))


def named_subgraphs(node: onnx.NodeProto, i_node: int) -> list[tuple[str, onnx.GraphProto]]:
    """Return the graphs of a node, after the part of a weight's path that each of them is."""
    label = node.name or f"{node.op_type}_{i_node}"
    return [(f"{label}/{i}/", graph) for i, graph in enumerate(subgraphs(node))]


def _weight(
    scope: Scope, name: str, tensor: onnx.TensorProto, holder: onnx.NodeProto | None
) -> Weight | None:
    is_large = float_dtype(tensor) is not None and n_elements(tensor) >= MIN_ELEMENTS
    is_large |= is_kept_exactly(tensor) and n_raw_bytes(tensor) >= MIN_INTEGER_BYTES
    return Weight(scope.path + name, name, scope, tensor, holder) if is_large else None


def _refusal(model: Model, weight: Weight, layer: Layer, inputs: set[str]) -> str:
    """Return why a weight must stay as it is, "" when it may change."""
    if not weight.uses:
        return "no node reads it"
    if any(use.node is None for use in weight.uses):
        return "it is itself a graph output"
    if not weight.scope.path and weight.tensor_name in inputs and model.proto.ir_version >= 4:
        return (
            "it is an overridable graph input (IR >= 4), which has to stay one; `freeze_inputs` makes "
            "a constant of it, which callers cannot override any more"
        )
    reads = [(use.node, use.index) for use in weight.uses if use.node is not None]
    if is_exact(layer.weight.dtype):
        if any(is_shape_input(node, index) for node, index in reads):
            return "it decides shapes, which a runtime has to know before it decodes"
        return "" if is_finite(layer.weight) else "it holds NaN or Inf"
    if layer.weight.ndim < 2 and any(is_scale_input(node, index) for node, index in reads):
        return "it is the scale of a quantised tensor, and stays exact"
    is_inside = any(use.scope.path for use in weight.uses)
    if is_inside and any(companion_of(node, index) is not None for node, index in reads):
        return "it is the scale of a MatMulNBits in a nested graph, which wants it constant"
    return _value_refusal(model.source, layer)


def _value_refusal(source: str, layer: Layer) -> str:
    """Return why a float weight stays as it is for its values, or ""; ModelError if they are damage."""
    low, high, is_finite = extremes(layer.weight)
    if not is_finite:
        is_embedding = layer.op_type == "Gather" and bool(np.isnan(low))
        if layer.op_type not in _WEIGHT_OPS and not is_embedding:
            return "it holds NaN or Inf (a mask, as it seems)"
        raise ModelError(
            f"{source}: weight '{layer.name}' of {layer.op_type} holds NaN or Inf; "
            "repair the training run or export"
        )
    largest = max(-low, high)
    if largest > _LEAST_MASK and layer.op_type not in _WEIGHT_OPS:
        return f"it holds values of {largest:.2g} (a mask, as it seems)"
    if largest and not _FLOAT32[0] <= largest <= _FLOAT32[1]:
        return f"its values, up to {largest:.2g}, leave float32, in which weights are decoded"
    return ""


def _describe(weight: Weight, array: Array) -> Layer:
    """Make the layer record; the first use by a known operator decides what the axes mean."""
    best: tuple[str, Layout, Mapping[str, AttributeValue]] | None = None
    for use in weight.uses:
        found = _known_use(use, array.ndim)
        if found and (best is None or best[0] == "Gather"):
            best = found
    if best is None:
        first = next((u.node for u in weight.uses if u.node is not None), None)
        best = (first.op_type if first else "", default_layout(array.ndim), {})
    op_type, layout, attributes = best
    in_main = weight.scope.path == "" and all(u.scope.path == "" for u in weight.uses)
    can_factorise = in_main and op_type in ("Conv", "Gemm", "MatMul") and not is_exact(array.dtype)
    can_factorise = can_factorise and all(u.node and u.node.op_type == op_type for u in weight.uses)
    can_factorise = can_factorise and len({_role(u) for u in weight.uses}) == 1
    return Layer(weight.name, op_type, array, layout, attributes, can_factorise=can_factorise)


def _role(use: Use) -> tuple[object, ...]:
    """What must be equal for all consumers of a weight that is to be factorised."""
    assert use.node is not None
    attributes = sorted(a.SerializeToString(deterministic=True) for a in use.node.attribute)
    return (use.index, *attributes)


def _known_use(
    use: Use, rank: int, order: tuple[int, ...] | None = None
) -> tuple[str, Layout, Mapping[str, AttributeValue]] | None:
    """Say how an operator reads the weight, looking through Identity, Cast and Transpose."""
    node = use.node
    if node is None or not is_known_domain(node):
        return None
    attributes = node_attributes(node)
    if node.op_type in _PASS_THROUGH and use.index == 0:
        order = order or tuple(range(rank))
        if node.op_type == "Transpose":
            perm = attributes.get("perm", tuple(reversed(range(rank))))
            if not isinstance(perm, tuple) or sorted(perm) != list(range(rank)):
                return None
            order = tuple(order[int(p)] for p in perm)
        for reader in use.scope.body.node:
            if node.output[0] in reader.input:
                index = list(reader.input).index(node.output[0])
                found = _known_use(Use(reader, index, use.scope), rank, order)
                if found:
                    return found
        return None
    layout = layout_of(node.op_type, use.index, rank, attributes)
    if layout is None:
        return None
    if node.op_type == "MatMul":
        attributes = {**attributes, "constant_side": "left" if use.index == 0 else "right"}
    return node.op_type, permuted_layout(layout, order), attributes
