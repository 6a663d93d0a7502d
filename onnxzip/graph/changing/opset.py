"""Raises a model below opset 11, where not all decode operators exist."""

from __future__ import annotations

import onnx

from onnxzip.errors import ModelError
from onnxzip.graph.changing.hoisting import MIN_IR_VERSION, as_input
from onnxzip.graph.changing.prune import drop_initializers
from onnxzip.graph.reading.model import Model
from onnxzip.graph.reading.opsets.imports import opset_version
from onnxzip.graph.reading.scope import iter_bodies
from onnxzip.runtime.finding import finding_of

DECODE_OPSET = 11
"""CumSum and ScatterElements begin here; decode graphs were seen to fold at opsets 11 to 28 (onnxruntime
1.14.1 to 1.32.0)."""

PACKED_OPSET = 7
"""Arithmetic broadcasts from here on, and so decodes what is packed; the oldest opset that onnxruntime
promises to run (its docs/Versioning.md)."""

_CONVERTER_ERRORS = (  # what onnx.version_converter was seen to raise; they have no common base class
    RuntimeError,
    ValueError,
    onnx.checker.ValidationError,
    onnx.shape_inference.InferenceError,
    onnx.version_converter.ConvertError,
)


INT8_OPSET = 13
"""QuantizeLinear takes a step for each channel from here on (ONNX's Changelog.md)."""


def raise_opset(model: Model, opset: int = DECODE_OPSET) -> Model:
    """Return the model at an opset or above, 11 at least; the model itself when it is there already.

    onnx's version converter does the work. It has an adapter for every operator whose meaning
    changed, and refuses the ones it has none for; whether the result computes the same is checked
    by the caller, with onnxruntime, on the feeds.

    Raises:
        ModelError: the converter refuses, or the model has operators it knows nothing about.
    """
    if model.opset >= opset:
        return model
    purpose = "decode weights" if opset == DECODE_OPSET else "compute in int8"
    where = f"{model.source}: opset {model.opset} has to be raised to {opset} to {purpose}"
    foreign = {n.domain for b in iter_bodies(model.proto) for n in b.node} - {"", "ai.onnx"}
    if foreign or model.proto.functions:
        raise ModelError(
            f"{where}, but it has operators of {sorted(foreign)}; export at opset {opset} or above"
        )
    changed = _changed_in_bodies(model, opset)
    if changed:
        raise ModelError(
            f"{where}, but {changed} in a nested graph changed until then; export at opset {opset} or "
            "above"
        )
    raised = model.copy()
    graph = raised.proto.graph
    inputs = {v.name for v in graph.input}
    # Inputs define the names of initializers whose values the converter need not see.
    graph.input.extend(as_input(t) for t in graph.initializer if t.name not in inputs)
    attached = {t.name: onnx.TensorProto.FromString(t.SerializeToString()) for t in graph.initializer}
    drop_initializers(raised, set(model.arrays))
    try:
        converted = onnx.version_converter.convert_version(raised.proto, opset)
    except _CONVERTER_ERRORS as error:
        advice = f"export at opset {opset} or above"
        raise ModelError(f"{where}, but: {finding_of(error)}; {advice}") from error
    return _reassemble(model, converted, attached, inputs)


def _changed_in_bodies(model: Model, opset: int) -> str:
    """Return an operator in a nested graph that an opset redefines: the converter leaves it alone."""
    for body in iter_bodies(model.proto):
        for node in body.node if body is not model.proto.graph else ():
            try:
                schemas = [onnx.defs.get_schema(node.op_type, v) for v in (model.opset, opset)]
            except onnx.defs.SchemaError:
                return str(node.op_type)
            if schemas[0].since_version != schemas[1].since_version:
                return str(node.op_type)
    return ""


def _reassemble(
    model: Model,
    converted: onnx.ModelProto,
    attached: dict[str, onnx.TensorProto],
    inputs: set[str],
) -> Model:
    """Take nodes and opset from the converted model, everything else from the original."""
    result = model.copy()
    graph = result.proto.graph
    del graph.node[:]
    graph.node.extend(converted.graph.node)
    known = {t.name for t in graph.initializer}
    graph.initializer.extend(
        t for t in converted.graph.initializer if t.name not in known and t.name not in attached
    )
    for entry in result.proto.opset_import:
        if entry.domain in ("", "ai.onnx"):
            entry.version = opset_version(converted, model.source)
    if result.proto.ir_version < MIN_IR_VERSION:
        added = (t for t in graph.initializer if t.name not in known and t.name not in inputs)
        graph.input.extend(map(as_input, added))
    return result
