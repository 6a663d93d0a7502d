"""Writes products of matrices with a bias as Gemm, which has an int8 form that adds the bias as well.

onnxruntime makes a Gemm of MatMul and Add itself where it knows that both factors are matrices
(core/optimizer/matmul_add_fusion.cc), before it looks for what runs in int8; a MatMul whose input is
rounded at every run then finds no kernel.
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from onnxzip.errors import CalibrationError
from onnxzip.graph import GraphEditor, Model, loadable, prune, with_value_outputs
from onnxzip.measure.subject import Subject
from onnxzip.passbase import NodeView
from onnxzip.runtime.session import open_session

_STANDARD = ("", "ai.onnx")


def with_gemms(model: Model, subject: Subject) -> Model:
    """Return the model with a Gemm for each MatMul of a matrix by a constant one and the Add behind it.

    Args:
        model: the model.
        subject: has a run, which tells which values are matrices.

    Raises:
        ModelError: the model does not run with other values as its outputs.
    """
    changed = model.copy()
    editor = GraphEditor(changed)
    pairs = _pairs(editor)
    matrices = _matrices(model, {product.inputs[0] for product, _ in pairs}, subject) if pairs else set()
    pairs = [pair for pair in pairs if pair[0].inputs[0] in matrices]
    for product, added in pairs:
        bias = next(name for name in added.inputs if name != product.outputs[0])
        values = editor.constant(bias)
        assert values is not None  # of all pairs
        if values.ndim != 1 or editor.n_uses(bias) > 1:
            bias = editor.add_constant(values.reshape(-1), bias)
        gemm = editor.add_node("Gemm", [*product.inputs, bias], added.outputs[0], {})
        editor.redirect(added.outputs[0], gemm)
        editor.remove(added)
        editor.remove(product)
    if not pairs:
        return model
    editor.commit()
    prune(changed)
    return changed


def _pairs(editor: GraphEditor) -> list[tuple[NodeView, NodeView]]:
    """Return each MatMul by a constant matrix whose only reader adds a number to each column."""
    nodes = editor.nodes()
    products = {n.outputs[0]: n for n in nodes if n.op_type == "MatMul" and n.domain in _STANDARD}
    found: list[tuple[NodeView, NodeView]] = []
    for node in nodes:
        if node.op_type != "Add" or node.domain not in _STANDARD or editor.is_output(node.outputs[0]):
            continue
        for value, other in (node.inputs, node.inputs[::-1]):
            product = products.get(value)
            if product is not None and editor.n_uses(value) == 1 and _suits(editor, product, other):
                found.append((product, node))
    return found


def _suits(editor: GraphEditor, product: NodeView, bias: str) -> bool:
    weight, added = editor.constant(product.inputs[1]), editor.constant(bias)
    if weight is None or added is None or editor.constant(product.inputs[0]) is not None:
        return False
    is_row = added.shape in ((weight.shape[-1],), (1, weight.shape[-1]))
    return weight.ndim == 2 and is_row and weight.dtype == added.dtype == np.float32


def _matrices(model: Model, values: Collection[str], subject: Subject) -> set[str]:
    """Return those of the values that have two axes in a run."""
    exposed, names = with_value_outputs(model, sorted(values))
    run = subject.samples[0].feeds.feeds[0]
    known = {name: array for name, array in run.items() if name in values}
    if names:
        try:
            with open_session(loadable(exposed), custom_ops=subject.custom_ops) as session:
                known |= session.run(run, list(names.values()))
        except CalibrationError:
            return set()
    return {name for name, array in known.items() if array.ndim == 2}
