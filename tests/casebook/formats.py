"""How a file may be written: IR versions, opsets, float types, external data, metadata, odd tensors."""

from __future__ import annotations

from functools import cache, partial
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import onnx
import onnxruntime as ort
from numpy.typing import DTypeLike
from onnx import TensorProto, helper, numpy_helper

from tests.casebook.kit import BATCH, Draft, case, random_array, register, value

X = value("x", [BATCH, 64])
Y = value("y", [BATCH, 48])
OPSETS = (7, 8, 9, 10, 11, 13, 17, 21)


def _linear(opset: int = 17, ir_version: int | None = None) -> onnx.ModelProto:
    """Return relu(x @ weight + bias)."""
    draft = Draft()
    draft.add("Gemm", ["x", draft.weight("weight", 64, 48), draft.weight("bias", 48)], "h")
    draft.add("Relu", ["h"], "y")
    return draft.model([X], [Y], opset=opset, ir_version=ir_version)


def _weights_as_inputs(model: onnx.ModelProto) -> onnx.ModelProto:
    """List every initializer among the graph inputs, as IR 3 demands and IR >= 4 allows."""
    for tensor in model.graph.initializer:
        model.graph.input.append(value(tensor.name, list(tensor.dims), tensor.data_type))
    return model


def network(opset: int) -> onnx.ModelProto:
    """Return a small convolutional network that is valid at any opset from 7 on."""
    draft = Draft()
    hidden = draft.add("Conv", ["x", draft.weight("w1", 16, 8, 3, 3)], "c", pads=[1, 1, 1, 1])
    norm = [draft.weight(n, 16) for n in ("gamma", "beta", "mean")]
    norm.append(draft.tensor("var", draft.rng.uniform(0.5, 2, 16).astype(np.float32)))
    active = draft.add("Relu", [draft.add("BatchNormalization", [hidden, *norm], "n")], "r")
    pooled = draft.add("MaxPool", [active], "p", kernel_shape=[2, 2], strides=[2, 2])
    shape = draft.tensor("shape", np.array([-1, 256], np.int64))
    flat = draft.add("Dropout", [draft.add("Reshape", [pooled, shape], "f")], "d")
    logits = draft.add(
        "Gemm", [flat, draft.weight("w2", 48, 256), draft.weight("b2", 48)], "g", transB=1
    )
    draft.add("Softmax", [logits], "y", axis=1)
    ir_version = 3 if opset < 9 else None
    model = draft.model([value("x", [BATCH, 8, 8, 8])], [Y], opset=opset, ir_version=ir_version)
    return _weights_as_inputs(model) if opset < 9 else model


@cache
def newest_opset() -> int:
    """Return the newest opset that both this onnx and this onnxruntime know."""
    for opset in range(onnx.defs.onnx_opset_version(), 17, -1):
        try:
            ort.InferenceSession(_linear(opset).SerializeToString(), providers=["CPUExecutionProvider"])
        except Exception:  # onnxruntime has no common base class for its errors
            continue
        return opset
    return 17


for _opset in OPSETS:
    register(
        f"opset_{_opset}", partial(network, _opset), n_weights=2, notes="One small network a version."
    )
register(
    "opset_newest",
    lambda: network(newest_opset()),
    n_weights=2,
    notes="Newest opset of onnx and runtime.",
)


@case()
def ir3_initializers_are_inputs() -> onnx.ModelProto:
    """IR 3, opset 8: every initializer is also a graph input."""
    return _weights_as_inputs(_linear(opset=8, ir_version=3))


@case()
def ir8_overridable_initializers() -> onnx.ModelProto:
    """IR 8: the initializers are graph inputs too, so a caller may override them."""
    return _weights_as_inputs(_linear(ir_version=8))


@case()
def initializers_under_inputs() -> onnx.ModelProto:
    """IR 8: the weight is an overridable graph input, listed before the data; the bias is not."""
    model = _linear(ir_version=8)
    data = onnx.ValueInfoProto()
    data.CopyFrom(model.graph.input[0])
    del model.graph.input[:]
    model.graph.input.extend([value("weight", [64, 48]), data])
    return model


@case(n_weights=1)
def constant_node() -> onnx.ModelProto:
    """The weight is a Constant node of the main graph."""
    draft = Draft()
    draft.add("MatMul", ["x", draft.constant("weight", 64, 48)], "y")
    return draft.model([X], [Y])


@case(n_weights=1)
def constant_of_floats() -> onnx.ModelProto:
    """A Constant with `value_floats`, reshaped to a matrix."""
    draft = Draft()
    flat = draft.add(
        "Constant", [], "flat", value_floats=[float(v) for v in random_array(draft.rng, (3072,))]
    )
    shape = draft.add("Constant", [], "shape", value_ints=[64, 48])
    draft.add("MatMul", ["x", draft.add("Reshape", [flat, shape], "weight")], "y")
    return draft.model([X], [Y])


@case()
def typed_field() -> onnx.ModelProto:
    """The weight's numbers are in `float_data`, not in `raw_data`."""
    model = _linear()
    tensor = model.graph.initializer[0]
    array = numpy_helper.to_array(tensor)
    tensor.CopyFrom(
        helper.make_tensor(tensor.name, TensorProto.FLOAT, array.shape, array.ravel().tolist())
    )
    assert len(tensor.float_data) == array.size
    return model


def _save_external(model: onnx.ModelProto, directory: Path, **options: Any) -> Path:
    path = directory / "model.onnx"
    onnx.save(model, path, save_as_external_data=True, size_threshold=256, **options)
    return path


for _name, _options in (
    ("external_one_file", {"all_tensors_to_one_file": True, "location": "model.onnx.data"}),
    ("external_file_per_tensor", {"all_tensors_to_one_file": False}),
):
    register(
        _name,
        partial(network, 17),
        n_weights=2,
        notes="External data beside the model (from write(); build() has it inside).",
        save=partial(_save_external, **_options),
    )


@case(save=partial(_save_external, location="model.data", convert_attribute=True))
def external_constant() -> onnx.ModelProto:
    """The weight of a Constant node lies in external data (from write())."""
    return constant_node()


def _typed(dtype: DTypeLike, elem_type: int) -> onnx.ModelProto:
    draft = Draft()
    draft.add("MatMul", ["x", draft.weight("weight", 64, 48, dtype=dtype)], "m")
    draft.add("Add", ["m", draft.weight("bias", 48, dtype=dtype)], "y")
    return draft.model([value("x", [BATCH, 64], elem_type)], [value("y", [BATCH, 48], elem_type)])


register(
    "float16", partial(_typed, np.float16, TensorProto.FLOAT16), n_weights=1, notes="float16 throughout."
)
register(
    "float64", partial(_typed, np.float64, TensorProto.DOUBLE), n_weights=1, notes="float64 throughout."
)


@case(n_weights=1)
def float16_conv() -> onnx.ModelProto:
    """A float16 Conv."""
    draft = Draft()
    names = [
        draft.weight("weight", 16, 8, 3, 3, dtype=np.float16),
        draft.weight("bias", 16, dtype=np.float16),
    ]
    draft.add("Conv", ["x", *names], "y")
    kind = TensorProto.FLOAT16
    return draft.model([value("x", [BATCH, 8, 6, 6], kind)], [value("y", [BATCH, 16, 4, 4], kind)])


@case(n_weights=1)
def bfloat16_cast() -> onnx.ModelProto:
    """A bfloat16 weight that is cast to float32 before use: what onnxruntime's CPU provider runs."""
    draft = Draft()
    weight = draft.weight("weight", 64, 48, dtype=ml_dtypes.bfloat16)
    draft.add("MatMul", ["x", draft.add("Cast", [weight], "wide", to=TensorProto.FLOAT)], "y")
    return draft.model([X], [Y])


@case(n_weights=2)
def mixed_float_types() -> onnx.ModelProto:
    """float32 and float16 weights in one model, with Casts between them."""
    draft = Draft()
    hidden = draft.add("MatMul", ["x", draft.weight("w1", 64, 64)], "h")
    half = draft.add("Cast", [hidden], "half", to=TensorProto.FLOAT16)
    product = draft.add("MatMul", [half, draft.weight("w2", 64, 48, dtype=np.float16)], "p")
    draft.add("Cast", [product], "y", to=TensorProto.FLOAT)
    return draft.model([X], [Y])


@case(n_weights=1, runnable=False)
def custom_domain() -> onnx.ModelProto:
    """A node of an unknown domain, with attributes, beside an ordinary MatMul."""
    draft = Draft()
    hidden = draft.add("MatMul", ["x", draft.weight("weight", 64, 48)], "h")
    attributes = {"level": 3, "mode": "fast", "table": numpy_helper.from_array(np.arange(6.0), "table")}
    draft.add("Mystery", [hidden], ["y", "extra"], domain="com.example", **attributes)
    return draft.model([X], [Y, value("extra", [BATCH])], domains={"com.example": 7})


@case(n_weights=1)
def contrib_domain() -> onnx.ModelProto:
    """A com.microsoft node: not standard ONNX, known to stock onnxruntime."""
    draft = Draft()
    hidden = draft.add("MatMul", ["x", draft.weight("weight", 64, 48)], "h")
    draft.add("Gelu", [hidden], "y", domain="com.microsoft")
    return draft.model([X], [Y], domains={"com.microsoft": 1})


@case()
def metadata() -> onnx.ModelProto:
    """Everything that must survive: metadata_props, doc strings, versions, dim_params, denotations."""
    model = _linear()
    helper.set_model_props(model, {"author": "onnxzip tests", "labels": "a,b,c", "empty": ""})
    model.producer_name, model.producer_version = "some exporter", "1.2.3"
    model.domain, model.model_version, model.doc_string = "com.example", 42, "model doc"
    model.graph.name, model.graph.doc_string = "a graph's name", "graph doc"
    model.graph.node[0].doc_string = "node doc"
    model.graph.initializer[0].doc_string = "weight doc"
    graph_input = model.graph.input[0]
    graph_input.doc_string = "input doc"
    graph_input.type.denotation = "TENSOR"
    graph_input.type.tensor_type.shape.dim[0].denotation = "DATA_BATCH"
    model.graph.output[0].doc_string = "output doc"
    model.graph.value_info.append(value("h", [BATCH, 48]))
    return model


@case()
def odd_names() -> onnx.ModelProto:
    """Slashes, spaces, colons, non-ASCII, two nodes without a name, names like onnxzip's own."""
    draft = Draft()
    weight = draft.weight("/encoder/layer.0/weight:0 (größe)", 64, 48)
    hidden = draft.add("MatMul", ["input x", weight], "/encoder/MatMul_output_0")
    middle = draft.add("Relu", [hidden], "onnxzip_0")
    draft.add("Neg", [middle], "y")
    for node, name in zip(draft.nodes, ("", "", "onnxzip_1"), strict=True):
        node.name = name
    return draft.model([value("input x", [BATCH, 64])], [Y])


@case(sizes={"unk__1": 3}, strict=False)
def unknown_shapes() -> onnx.ModelProto:
    """Anonymous and symbolic dimensions, and an output without any shape."""
    draft = Draft()
    draft.add("Relu", [draft.add("MatMul", ["x", draft.weight("weight", 64, 48)], "m")], "y")
    return draft.model([value("x", [None, "unk__1", 64])], [value("y", None)])


@case(shapes={"x": (3, 64)}, strict=False)
def unknown_rank() -> onnx.ModelProto:
    """The input has a type and no shape."""
    draft = Draft()
    draft.add("MatMul", ["x", draft.weight("weight", 64, 48)], "y")
    return draft.model([value("x", None)], [value("y", None)])


@case()
def fixed_batch() -> onnx.ModelProto:
    """Every dimension is a number; the batch is 1."""
    draft = Draft()
    draft.add("MatMul", ["x", draft.weight("weight", 64, 48)], "y")
    return draft.model([value("x", [1, 64])], [value("y", [1, 48])])
