"""Changes of a model's protobuf that keep it parseable: each takes a generator and changes in place."""

from __future__ import annotations

from collections.abc import Callable, MutableSequence
from typing import Any

import numpy as np
import onnx
from onnx import AttributeProto, TensorProto

from tests.fuzz.extremes import DIMS, INTEGERS, NAMES, NUMBERS, PATHS, pick

Mutation = Callable[[np.random.Generator, onnx.ModelProto], object]

MUTATIONS: list[Mutation] = []


def mutation(function: Mutation) -> Mutation:
    """Add a mutation to MUTATIONS."""
    MUTATIONS.append(function)
    return function


def mutate(rng: np.random.Generator, model: onnx.ModelProto, n_times: int) -> list[str]:
    """Change a model in place; return the names of what was done.

    A mutation that does not apply, or that protobuf refuses, does nothing.
    """
    done = []
    for _ in range(n_times):
        change = MUTATIONS[rng.integers(len(MUTATIONS))]
        try:
            change(rng, model)
        except (ValueError, TypeError, IndexError, OverflowError):
            continue
        done.append(getattr(change, "__name__", "?"))
    return done


def graphs(model: onnx.ModelProto) -> list[onnx.GraphProto]:
    """Return all graphs of a model, the main one first."""
    found = [model.graph]
    for graph in found:
        for node in graph.node:
            found += [a.g for a in node.attribute if a.HasField("g")]
    return found


def _graph(rng: np.random.Generator, model: onnx.ModelProto) -> onnx.GraphProto:
    return pick(rng, graphs(model))


def _node(rng: np.random.Generator, model: onnx.ModelProto) -> onnx.NodeProto:
    bodies: list[Any] = [*graphs(model), *model.functions]
    return pick(rng, pick(rng, [body for body in bodies if body.node]).node)


def _tensor(rng: np.random.Generator, model: onnx.ModelProto) -> onnx.TensorProto:
    found = [tensor for graph in graphs(model) for tensor in graph.initializer]
    found += [a.t for graph in graphs(model) for n in graph.node for a in n.attribute if a.HasField("t")]
    return pick(rng, found)


def _value(rng: np.random.Generator, model: onnx.ModelProto) -> onnx.ValueInfoProto:
    graph = _graph(rng, model)
    return pick(rng, [*graph.input, *graph.output, *graph.value_info])


def _names(model: onnx.ModelProto) -> list[str]:
    names = {name for graph in graphs(model) for n in graph.node for name in (*n.input, *n.output)}
    return sorted(names | {t.name for t in model.graph.initializer})


def _drop_one(rng: np.random.Generator, items: MutableSequence[Any]) -> None:
    del items[int(rng.integers(len(items)))]


# Nodes


@mutation
def drop_node(rng: np.random.Generator, model: onnx.ModelProto) -> None:
    nodes = _graph(rng, model).node
    _drop_one(rng, nodes)


@mutation
def repeat_node(rng: np.random.Generator, model: onnx.ModelProto) -> None:
    nodes = _graph(rng, model).node
    nodes.add().CopyFrom(pick(rng, nodes))


@mutation
def repeat_node_elsewhere(rng: np.random.Generator, model: onnx.ModelProto) -> None:
    """Outputs of other names, so that the copy is legal where it stands."""
    nodes = _graph(rng, model).node
    copy = nodes.add()
    copy.CopyFrom(pick(rng, nodes))
    for i, name in enumerate(copy.output):
        copy.output[i] = name and f"{name}/copy"


@mutation
def swap_nodes(rng: np.random.Generator, model: onnx.ModelProto) -> None:
    nodes = _graph(rng, model).node
    i, j = rng.integers(len(nodes), size=2)
    kept = onnx.NodeProto.FromString(nodes[i].SerializeToString())
    nodes[i].CopyFrom(nodes[j])
    nodes[j].CopyFrom(kept)


@mutation
def retarget_input(rng: np.random.Generator, model: onnx.ModelProto) -> None:
    """Now and then onto a later value, which makes a cycle."""
    node = _node(rng, model)
    node.input[rng.integers(len(node.input))] = pick(rng, [*_names(model), pick(rng, NAMES)])


@mutation
def retarget_output(rng: np.random.Generator, model: onnx.ModelProto) -> None:
    node = _node(rng, model)
    node.output[rng.integers(len(node.output))] = pick(rng, [*_names(model), pick(rng, NAMES)])


@mutation
def add_or_drop_input(rng: np.random.Generator, model: onnx.ModelProto) -> None:
    node = _node(rng, model)
    if rng.random() < 0.5:
        node.input.append(pick(rng, [*_names(model), ""]))
    else:
        del node.input[-1]


@mutation
def change_operator(rng: np.random.Generator, model: onnx.ModelProto) -> None:
    operators = (
        "Identity",
        "Gemm",
        "MatMul",
        "Loop",
        "If",
        "Constant",
        "Reshape",
        "Cast",
        "STFT",
        "NoSuch",
    )
    _node(rng, model).op_type = pick(rng, operators)


@mutation
def change_domain(rng: np.random.Generator, model: onnx.ModelProto) -> None:
    _node(rng, model).domain = pick(
        rng, ("", "ai.onnx", "ai.onnx.ml", "com.microsoft", pick(rng, NAMES))
    )


@mutation
def rename_everywhere(rng: np.random.Generator, model: onnx.ModelProto) -> None:
    """A legal change: the value keeps its producer and readers, under an odd name."""
    old, new = pick(rng, _names(model)), pick(rng, NAMES)
    for graph in graphs(model):
        for node in graph.node:
            for names in (node.input, node.output):
                names[:] = [new if name == old else name for name in names]
        for item in (*graph.input, *graph.output, *graph.value_info, *graph.initializer):
            item.name = new if item.name == old else item.name


# Attributes


@mutation
def change_attribute(rng: np.random.Generator, model: onnx.ModelProto) -> None:
    attribute = pick(rng, _node(rng, model).attribute)
    attribute.i = int(pick(rng, INTEGERS))
    attribute.f = float(pick(rng, NUMBERS))
    attribute.s = str(pick(rng, NAMES)).encode()
    if attribute.ints:
        attribute.ints[rng.integers(len(attribute.ints))] = int(pick(rng, INTEGERS))
    if attribute.floats:
        attribute.floats[rng.integers(len(attribute.floats))] = float(pick(rng, NUMBERS))


@mutation
def lengthen_attribute(rng: np.random.Generator, model: onnx.ModelProto) -> None:
    attribute = pick(rng, _node(rng, model).attribute)
    attribute.ints.extend([int(pick(rng, INTEGERS))] * int(rng.integers(1, 4)))


@mutation
def retype_attribute(rng: np.random.Generator, model: onnx.ModelProto) -> None:
    pick(rng, _node(rng, model).attribute).type = pick(rng, AttributeProto.AttributeType.values())


@mutation
def drop_attribute(rng: np.random.Generator, model: onnx.ModelProto) -> None:
    attributes = _node(rng, model).attribute
    _drop_one(rng, attributes)


@mutation
def rename_attribute(rng: np.random.Generator, model: onnx.ModelProto) -> None:
    pick(rng, _node(rng, model).attribute).name = pick(rng, ("axis", "to", "value", "ref", "body", ""))


# Tensors


@mutation
def retype_tensor(rng: np.random.Generator, model: onnx.ModelProto) -> None:
    _tensor(rng, model).data_type = int(pick(rng, [*TensorProto.DataType.values(), 999, -1]))


@mutation
def resize_tensor(rng: np.random.Generator, model: onnx.ModelProto) -> None:
    tensor = _tensor(rng, model)
    tensor.dims[rng.integers(len(tensor.dims))] = int(pick(rng, DIMS))


@mutation
def reshape_tensor(rng: np.random.Generator, model: onnx.ModelProto) -> None:
    """As many elements as before, in other dimensions."""
    tensor = _tensor(rng, model)
    dims = list(tensor.dims)
    tensor.dims[:] = [int(np.prod(dims))] if rng.random() < 0.3 else list(rng.permutation(dims))
    if rng.random() < 0.3:
        tensor.dims.extend([1] * int(rng.integers(1, 70)))


@mutation
def cut_tensor(rng: np.random.Generator, model: onnx.ModelProto) -> None:
    tensor = _tensor(rng, model)
    n_bytes = int(rng.integers(0, len(tensor.raw_data) + 9))
    tensor.raw_data = (tensor.raw_data + bytes(8))[:n_bytes]


@mutation
def spoil_values(rng: np.random.Generator, model: onnx.ModelProto) -> None:
    """NaN, Inf, huge, tiny or equal numbers in a weight: legal, if unkind."""
    tensor = _tensor(rng, model)
    if tensor.data_location == onnx.TensorProto.EXTERNAL:
        return  # another mutation has sent it away
    array = onnx.numpy_helper.to_array(tensor).copy()
    flat = array.reshape(-1)
    which = rng.integers(flat.size, size=max(1, int(flat.size * pick(rng, (0, 0.1, 1)))))
    with np.errstate(all="ignore"):
        flat[which] = np.asarray(pick(rng, NUMBERS)).astype(array.dtype)
    name = tensor.name
    tensor.CopyFrom(onnx.numpy_helper.from_array(array, name))


@mutation
def send_outside(rng: np.random.Generator, model: onnx.ModelProto) -> None:
    """External data: nowhere, elsewhere, beyond the end."""
    tensor = _tensor(rng, model)
    tensor.data_location = TensorProto.EXTERNAL
    if rng.random() < 0.5:
        tensor.ClearField("raw_data")
    tensor.external_data.add(key="location", value=pick(rng, PATHS))
    for key in ("offset", "length", "checksum", "offset"):
        if rng.random() < 0.5:
            tensor.external_data.add(key=key, value=str(pick(rng, [*INTEGERS, "x", "", "1e3"])))


@mutation
def repeat_tensor(rng: np.random.Generator, model: onnx.ModelProto) -> None:
    graph = _graph(rng, model)
    graph.initializer.add().CopyFrom(pick(rng, graph.initializer))


@mutation
def hide_in_sparse(rng: np.random.Generator, model: onnx.ModelProto) -> None:
    """An initializer becomes the values of a sparse one."""
    graph = _graph(rng, model)
    tensor = pick(rng, graph.initializer)
    sparse = graph.sparse_initializer.add(dims=[int(pick(rng, DIMS))])
    sparse.values.CopyFrom(tensor)
    sparse.indices.CopyFrom(onnx.numpy_helper.from_array(rng.integers(0, 9, 3)))
    if rng.random() < 0.5:
        graph.initializer.remove(tensor)


@mutation
def override_weight(rng: np.random.Generator, model: onnx.ModelProto) -> None:
    """An initializer that is a graph input as well: optional from IR version 4 on."""
    tensor = pick(rng, model.graph.initializer)
    shape = list(tensor.dims)
    model.graph.input.append(onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, shape))


# What a model takes and gives


@mutation
def resize_port(rng: np.random.Generator, model: onnx.ModelProto) -> None:
    shape = _value(rng, model).type.tensor_type.shape
    dim = shape.dim[rng.integers(len(shape.dim))]
    if rng.random() < 0.5:
        dim.dim_value = int(pick(rng, DIMS))
    else:
        dim.dim_param = str(pick(rng, NAMES))


@mutation
def rerank_port(rng: np.random.Generator, model: onnx.ModelProto) -> None:
    value = _value(rng, model)
    if rng.random() < 0.5:
        value.type.tensor_type.ClearField("shape")
    else:
        value.type.tensor_type.shape.dim.add(dim_value=int(pick(rng, DIMS)))


@mutation
def retype_port(rng: np.random.Generator, model: onnx.ModelProto) -> None:
    value = _value(rng, model)
    if rng.random() < 0.2:
        value.type.sequence_type.elem_type.tensor_type.elem_type = TensorProto.FLOAT
    else:
        value.type.tensor_type.elem_type = int(pick(rng, [*TensorProto.DataType.values(), 77]))


@mutation
def add_or_drop_port(rng: np.random.Generator, model: onnx.ModelProto) -> None:
    ports = pick(rng, (model.graph.input, model.graph.output))
    if rng.random() < 0.5:
        ports.add().CopyFrom(pick(rng, ports))
    else:
        _drop_one(rng, ports)


@mutation
def expose_value(rng: np.random.Generator, model: onnx.ModelProto) -> None:
    model.graph.output.append(onnx.helper.make_empty_tensor_value_info(pick(rng, _names(model))))


# The model


@mutation
def change_versions(rng: np.random.Generator, model: onnx.ModelProto) -> None:
    if rng.random() < 0.5:
        pick(rng, model.opset_import).version = int(pick(rng, [*range(1, 30), *INTEGERS]))
    else:
        model.ir_version = int(pick(rng, [*range(14), *INTEGERS]))


@mutation
def change_imports(rng: np.random.Generator, model: onnx.ModelProto) -> None:
    if rng.random() < 0.3:
        _drop_one(rng, model.opset_import)
    else:
        domain = pick(rng, ("", "ai.onnx", "ai.onnx.ml", "com.microsoft", *NAMES))
        model.opset_import.add(domain=str(domain), version=int(rng.integers(1, 25)))


@mutation
def wrap_in_function(rng: np.random.Generator, model: onnx.ModelProto) -> None:
    """Move a node into a function, which now and then calls itself."""
    node = _node(rng, model)
    function = model.functions.add(name="wrapped", domain="fuzz")
    inner = function.node.add()
    inner.CopyFrom(node)
    function.input.extend(dict.fromkeys(filter(None, node.input)))
    function.output.extend(filter(None, node.output))
    function.opset_import.extend(model.opset_import)
    if rng.random() < 0.2:
        inner.op_type, inner.domain = "wrapped", "fuzz"
    given = list(function.input)
    node.CopyFrom(onnx.helper.make_node("wrapped", given, list(function.output), domain="fuzz"))
    if rng.random() < 0.8:
        model.opset_import.add(domain="fuzz", version=1)


@mutation
def nest(rng: np.random.Generator, model: onnx.ModelProto) -> None:
    """An If around a copy of a node, some levels deep; the other branch has nothing but the copy."""
    leaf = _node(rng, model)
    node, outputs = leaf, [onnx.helper.make_empty_tensor_value_info(name) for name in leaf.output]
    other = onnx.helper.make_graph([leaf], "other", [], outputs)
    for _ in range(int(pick(rng, (1, 2, 30)))):
        inner = onnx.helper.make_graph([node], "nested", [], outputs)
        yes = pick(rng, _names(model))
        node = onnx.helper.make_node(
            "If", [yes], list(leaf.output), then_branch=inner, else_branch=other
        )
    model.graph.node.append(node)


@mutation
def fill_texts(rng: np.random.Generator, model: onnx.ModelProto) -> None:
    text = str(pick(rng, NAMES))
    model.producer_name = model.doc_string = model.graph.name = text
    pick(rng, model.graph.node).name = text
    model.metadata_props.add(key=pick(rng, ("onnxzip", text)), value=text)
