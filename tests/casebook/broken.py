"""Files that must be refused with one clear line: each is written into a folder of the test's own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper

from tests.casebook.kit import BATCH, Draft, value

X = value("x", [BATCH, 64])
Y = value("y", [BATCH, 48])


@dataclass(frozen=True)
class BadFile:
    """A broken input.

    Attributes:
        name: key in BAD_FILES.
        write: writes it into a folder and returns the path to hand to onnxzip.
        notes: what is wrong with it.
        runtime_accepts: whether a stock onnxruntime creates a session from it all the same.
    """

    name: str
    write: Callable[[Path], Path]
    notes: str
    runtime_accepts: bool = False

    def __str__(self) -> str:
        """Return the name, for test ids."""
        return self.name


BAD_FILES: dict[str, BadFile] = {}


def bad(runtime_accepts: bool = False) -> Callable[[Callable[[Path], Path]], Callable[[Path], Path]]:
    """Register the decorated writer under its own name, with its docstring as notes."""

    def decorate(write: Callable[[Path], Path]) -> Callable[[Path], Path]:
        name = write.__name__
        BAD_FILES[name] = BadFile(name, write, (write.__doc__ or "").strip(), runtime_accepts)
        return write

    return decorate


def good_model() -> onnx.ModelProto:
    """Return the model that the writers damage: relu(x @ weight)."""
    draft = Draft()
    hidden = draft.add("MatMul", ["x", draft.weight("weight", 64, 48)], "h")
    draft.add("Relu", [hidden], "y")
    return draft.model([X], [Y])


def put(folder: Path, data: bytes | onnx.ModelProto) -> Path:
    """Write model.onnx and return its path."""
    path = folder / "model.onnx"
    path.write_bytes(data if isinstance(data, bytes) else data.SerializeToString())
    return path


@bad()
def missing_file(folder: Path) -> Path:
    """There is no such file."""
    return folder / "absent.onnx"


@bad()
def empty_file(folder: Path) -> Path:
    """No bytes at all: valid protobuf, no model."""
    return put(folder, b"")


@bad()
def directory(folder: Path) -> Path:
    """A directory named like a model."""
    path = folder / "model.onnx"
    path.mkdir()
    return path


@bad()
def text_file(folder: Path) -> Path:
    """Text, as a failed download leaves behind."""
    return put(folder, b"version https://git-lfs.github.com/spec/v1\noid sha256:0000\nsize 1094689\n")


@bad()
def random_bytes(folder: Path) -> Path:
    """4 KB of noise."""
    return put(folder, np.random.default_rng(0).bytes(4096))


@bad()
def truncated(folder: Path) -> Path:
    """A model cut off in the middle of its weight."""
    data = good_model().SerializeToString()
    return put(folder, data[: len(data) // 2])


@bad()
def trailing_garbage(folder: Path) -> Path:
    """A model with a text appended."""
    return put(folder, good_model().SerializeToString() + b"\n-- end of file --\n")


@bad()
def no_graph(folder: Path) -> Path:
    """A ModelProto with an opset and no graph."""
    model = onnx.ModelProto(ir_version=8, opset_import=[helper.make_opsetid("", 17)])
    return put(folder, model)


@bad(runtime_accepts=True)
def nan_weight(folder: Path) -> Path:
    """NaN in a weight."""
    return put(folder, _with_value(np.nan))


@bad(runtime_accepts=True)
def inf_weight(folder: Path) -> Path:
    """Inf in a MatMul weight."""
    return put(folder, _with_value(np.inf))


def _with_value(number: float) -> onnx.ModelProto:
    model = good_model()
    tensor = model.graph.initializer[0]
    array = onnx.numpy_helper.to_array(tensor).copy()
    array[5, 7] = number
    tensor.raw_data = array.tobytes()
    return model


@bad()
def raw_data_short(folder: Path) -> Path:
    """The weight has fewer bytes than its dims ask for."""
    model = good_model()
    model.graph.initializer[0].raw_data = model.graph.initializer[0].raw_data[:-4]
    return put(folder, model)


@bad()
def raw_data_long(folder: Path) -> Path:
    """The weight has more bytes than its dims ask for."""
    model = good_model()
    model.graph.initializer[0].raw_data += bytes(4)
    return put(folder, model)


@bad()
def huge_dims(folder: Path) -> Path:
    """The weight claims 2^40 numbers; allocating them must not be tried."""
    model = good_model()
    model.graph.initializer[0].dims[:] = [1 << 20, 1 << 20]
    return put(folder, model)


@bad()
def negative_dims(folder: Path) -> Path:
    """The weight has a negative dimension."""
    model = good_model()
    model.graph.initializer[0].dims[:] = [-64, 48]
    return put(folder, model)


@bad(runtime_accepts=True)
def too_many_dims(folder: Path) -> Path:
    """A constant of 70 dimensions, in a node."""
    model = good_model()
    tensor = onnx.numpy_helper.from_array(np.zeros(3, np.float32), "flat")
    tensor.dims[:] = [1] * 69 + [3]
    model.graph.node.insert(0, helper.make_node("Constant", [], ["unused"], value=tensor))
    return put(folder, model)


@bad()
def mistyped_constant(folder: Path) -> Path:
    """A Constant whose attribute is no tensor by its type, and has one all the same, far too short."""
    model = good_model()
    tensor = onnx.numpy_helper.from_array(np.ones((64, 48), np.float32), "value")
    tensor.raw_data = tensor.raw_data[:7]
    node = helper.make_node("Constant", [], ["other"], value=tensor)
    node.attribute[0].type = onnx.AttributeProto.INT
    model.graph.node.insert(0, node)
    model.graph.node[1].input[1] = "other"  # of the MatMul
    return put(folder, model)


@bad(runtime_accepts=True)
def raw_strings(folder: Path) -> Path:
    """A table of int64 that is said to hold strings: as many bytes as so many pointers."""
    model = good_model()
    tensor = onnx.numpy_helper.from_array(np.ones(3, np.int64), "table")
    tensor.data_type = TensorProto.STRING
    model.graph.initializer.append(tensor)
    model.graph.node.append(helper.make_node("Shape", ["table"], ["shape"]))
    return put(folder, model)


@bad()
def undefined_type(folder: Path) -> Path:
    """The weight's data type is UNDEFINED."""
    model = good_model()
    model.graph.initializer[0].data_type = TensorProto.UNDEFINED
    return put(folder, model)


@bad()
def unknown_type(folder: Path) -> Path:
    """The weight's data type is a number that no version of ONNX knows."""
    model = good_model()
    model.graph.initializer[0].data_type = 999
    return put(folder, model)


@bad()
def shapes_disagree(folder: Path) -> Path:
    """X is (batch, 63) and the weight (64, 48)."""
    model = good_model()
    model.graph.input[0].CopyFrom(value("x", [BATCH, 63]))
    return put(folder, model)


@bad()
def unknown_opset(folder: Path) -> Path:
    """Opset 9999."""
    model = good_model()
    model.opset_import[0].version = 9999
    return put(folder, model)


@bad()
def unknown_ir_version(folder: Path) -> Path:
    """IR version 999."""
    model = good_model()
    model.ir_version = 999
    return put(folder, model)


@bad()
def no_opset(folder: Path) -> Path:
    """No opset_import at all."""
    model = good_model()
    del model.opset_import[:]
    return put(folder, model)


@bad()
def unknown_operator(folder: Path) -> Path:
    """An operator that the standard domain does not have."""
    model = good_model()
    model.graph.node[1].op_type = "NoSuchOperator"
    return put(folder, model)


@bad()
def missing_producer(folder: Path) -> Path:
    """A node reads a value that nothing produces."""
    model = good_model()
    model.graph.node[1].input[0] = "nowhere"
    return put(folder, model)


@bad()
def output_without_producer(folder: Path) -> Path:
    """A graph output that nothing produces."""
    model = good_model()
    model.graph.output.append(value("never", [BATCH]))
    return put(folder, model)


@bad()
def cyclic_graph(folder: Path) -> Path:
    """Two nodes that read each other's output."""
    draft = Draft()
    draft.add("Add", ["x", "b"], "a")
    draft.add("MatMul", ["a", draft.weight("weight", 64, 64)], "b")
    return put(folder, draft.model([X], [value("b", [BATCH, 64])]))


@bad()
def duplicate_outputs(folder: Path) -> Path:
    """Two nodes produce a value of the same name."""
    model = good_model()
    model.graph.node.append(helper.make_node("Neg", ["x"], ["h"]))
    return put(folder, model)


@bad()
def duplicate_initializers(folder: Path) -> Path:
    """Two initializers of the same name and different contents."""
    model = good_model()
    model.graph.initializer.append(helper.make_tensor("weight", TensorProto.FLOAT, [2], [1.0, 2.0]))
    return put(folder, model)
