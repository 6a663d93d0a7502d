"""Makes a model of some nodes of another one's main graph."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import onnx

from onnxzip.graph.reading.model import Model
from onnxzip.graph.reading.scope import read_by
from onnxzip.graph.reading.tensors import element_type


def build_part(
    model: Model,
    nodes: Iterable[int],
    reads: Mapping[str, np.dtype[np.generic]],
    makes: Iterable[str],
) -> Model:
    """Return nodes of the main graph as a model; inputs and initializers that they read come with them.

    Args:
        model: the whole, with its nodes in the order in which they run.
        nodes: their positions.
        reads: element type of each value that they read of other nodes.
        makes: its outputs.
    """
    graph, source = onnx.GraphProto(name="part"), model.proto.graph
    graph.node.extend(source.node[i] for i in nodes)
    read = read_by(graph.node)
    graph.input.extend(v for v in source.input if v.name in read)
    graph.input.extend(
        onnx.helper.make_tensor_value_info(name, element_type(dtype), None)
        for name, dtype in reads.items()
    )
    graph.initializer.extend(t for t in source.initializer if t.name in read)
    graph.sparse_initializer.extend(t for t in source.sparse_initializer if t.values.name in read)
    graph.output.extend(onnx.helper.make_empty_tensor_value_info(name) for name in makes)
    proto = onnx.ModelProto(ir_version=model.proto.ir_version, graph=graph)
    proto.opset_import.extend(model.proto.opset_import)
    proto.functions.extend(model.proto.functions)
    arrays = {name: array for name, array in model.arrays.items() if name in read}
    return Model(proto, arrays, model.source)


def nodes_behind(
    reads: Sequence[Sequence[str]], made: Mapping[str, int], start: int, goals: Iterable[str]
) -> tuple[tuple[int, ...], tuple[str, ...]]:
    """Return the nodes from `start` on that the goals need, and what those read from before.

    Args:
        reads: what each node of the main graph reads.
        made: the position of the node that makes a value, by its name.
        start: position of a node.
        goals: values made from there on.
    """
    stack = [made[goal] for goal in goals]
    kept: set[int] = set()
    before: dict[str, None] = {}
    while stack:
        i = stack.pop()
        if i in kept:
            continue
        kept.add(i)
        for name in reads[i]:
            position = made.get(name)
            if position is not None and position >= start:
                stack.append(position)
            elif position is not None:
                before[name] = None
    return tuple(sorted(kept)), tuple(sorted(before))
