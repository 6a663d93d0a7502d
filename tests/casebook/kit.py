"""What the case builders share: a graph being written, and the record of a finished case."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import DTypeLike, NDArray
from onnx import TensorProto, helper, numpy_helper

Dim = int | str | None
BATCH = "batch"
DEFAULT_SIZES: Mapping[str, int] = {BATCH: 3, "sequence": 5, "height": 9, "width": 11}
"""What symbolic dimensions are when a case is run, unless the case says otherwise; 4 for any other."""


def value(name: str, dims: Sequence[Dim] | None, dtype: int = TensorProto.FLOAT) -> onnx.ValueInfoProto:
    """Return a tensor value_info; dims may be numbers, symbols, None (unknown), or None altogether."""
    return helper.make_tensor_value_info(name, dtype, dims)


def random_array(
    rng: np.random.Generator, shape: Sequence[int], dtype: DTypeLike = np.float32
) -> NDArray[Any]:
    """Return normal numbers scaled by 1 / sqrt(numbers per slice of axis 0), or uniform integers."""
    kind = np.dtype(dtype)
    if kind.kind in "iu":
        limits = np.iinfo(kind)
        low, high = max(limits.min, -(10**6)), min(limits.max, 10**6)
        return np.asarray(rng.integers(low, high, shape), kind)
    fan = max(int(np.prod(shape[1:])), 1)
    return np.asarray(rng.standard_normal(shape) / np.sqrt(fan), kind)


@dataclass
class Draft:
    """A graph being written; every random number comes from one seeded generator."""

    seed: int = 0
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    initializers: list[onnx.TensorProto] = field(default_factory=list)
    rng: np.random.Generator = field(init=False)

    def __post_init__(self) -> None:
        """Seed the generator."""
        self.rng = np.random.default_rng(self.seed)

    def weight(self, name: str, *shape: int, dtype: DTypeLike = np.float32) -> str:
        """Add a random initializer and return its name."""
        return self.tensor(name, random_array(self.rng, shape, dtype))

    def tensor(self, name: str, array: Any) -> str:
        """Add an initializer with the given contents and return its name."""
        self.initializers.append(numpy_helper.from_array(np.asarray(array), name))
        return name

    def constant(self, name: str, *shape: int, dtype: DTypeLike = np.float32) -> str:
        """Add a Constant node with random contents and return its output's name."""
        tensor = numpy_helper.from_array(random_array(self.rng, shape, dtype), f"{name}_value")
        return self.add("Constant", [], name, value=tensor)

    def add(
        self, op_type: str, inputs: Sequence[str], output: str | Sequence[str], **attributes: Any
    ) -> str:
        """Add a node and return the name of its first output."""
        outputs = [output] if isinstance(output, str) else list(output)
        name = f"node_{outputs[0]}"
        self.nodes.append(helper.make_node(op_type, inputs, outputs, name=name, **attributes))
        return outputs[0]

    def graph(
        self,
        inputs: Sequence[onnx.ValueInfoProto],
        outputs: Sequence[onnx.ValueInfoProto],
        name: str = "case",
    ) -> onnx.GraphProto:
        """Return the graph, also for use as the body of an If, Loop or Scan."""
        return helper.make_graph(self.nodes, name, inputs, outputs, initializer=self.initializers)

    def model(
        self,
        inputs: Sequence[onnx.ValueInfoProto],
        outputs: Sequence[onnx.ValueInfoProto],
        opset: int = 17,
        ir_version: int | None = None,
        domains: Mapping[str, int] | None = None,
        functions: Sequence[onnx.FunctionProto] = (),
    ) -> onnx.ModelProto:
        """Return the model; the IR version is the oldest that goes with the opset, at least 4."""
        opsets = [helper.make_opsetid("", opset)]
        opsets += [helper.make_opsetid(domain, version) for domain, version in (domains or {}).items()]
        oldest = helper.find_min_ir_version_for(opsets, ignore_unknown=True)
        if functions:
            oldest = max(oldest, 8)
        model = helper.make_model(
            self.graph(inputs, outputs),
            opset_imports=opsets,
            functions=functions,
            ir_version=max(oldest, 4) if ir_version is None else ir_version,
            producer_name="onnxzip-tests",
        )
        assert isinstance(model, onnx.ModelProto)
        return model


def _save(model: onnx.ModelProto, directory: Path) -> Path:
    path = directory / "model.onnx"
    onnx.save(model, path)
    return path


@dataclass(frozen=True)
class Case:
    """One model and what is known of it.

    Attributes:
        name: key in CASES.
        build: makes the model; the same bytes every time.
        notes: what is special about it.
        n_weights: float tensors of at least 1,024 numbers, counted as a reader must see them: once
            each, wherever they sit (initializers, Constants, bodies, functions).
        runnable: whether a stock onnxruntime creates a session from it.
        strict: whether onnx.checker accepts it with shape inference (onnxruntime takes more than that).
        finite: whether weights and outputs are free of NaN and Inf.
        bounds: exclusive upper limit of each integer input.
        sizes: sizes of symbolic dimensions, over DEFAULT_SIZES.
        shapes: shapes of inputs whose rank the model does not say.
        save: writes the model into a folder and returns the .onnx path (external data).
    """

    name: str
    build: Callable[[], onnx.ModelProto]
    notes: str
    n_weights: int
    runnable: bool = True
    strict: bool = True
    finite: bool = True
    bounds: Mapping[str, int] = field(default_factory=dict)
    sizes: Mapping[str, int] = field(default_factory=dict)
    shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    save: Callable[[onnx.ModelProto, Path], Path] = _save

    def __str__(self) -> str:
        """Return the name, for test ids."""
        return self.name

    def write(self, directory: Path) -> Path:
        """Build the model, write it into `directory` and return the path of the .onnx file."""
        return self.save(self.build(), directory)

    def feeds(self, seed: int = 0) -> dict[str, NDArray[Any]]:
        """Return one feed for every input that must be given; a boolean is True for even seeds."""
        model = self.build()
        given = {tensor.name for tensor in model.graph.initializer}
        rng = np.random.default_rng(seed)
        return {
            info.name: self._feed(info, rng, seed)
            for info in model.graph.input
            if info.name not in given
        }

    def _feed(self, info: onnx.ValueInfoProto, rng: np.random.Generator, seed: int) -> NDArray[Any]:
        tensor = info.type.tensor_type
        sizes = {**DEFAULT_SIZES, **self.sizes}
        shape = self.shapes.get(info.name) or tuple(
            d.dim_value if d.HasField("dim_value") else sizes.get(d.dim_param, 4)
            for d in tensor.shape.dim
        )
        kind = helper.tensor_dtype_to_np_dtype(tensor.elem_type)
        if kind == np.bool_:
            return np.full(shape, seed % 2 == 0)
        if kind.kind in "iu":
            return rng.integers(0, self.bounds[info.name], shape).astype(kind)
        return rng.standard_normal(shape).astype(kind)


REGISTRY: dict[str, Case] = {}


def register(
    name: str, build: Callable[[], onnx.ModelProto], n_weights: int, notes: str, **facts: Any
) -> None:
    """Add a case; a name can be taken once."""
    assert name not in REGISTRY, name
    REGISTRY[name] = Case(name, build, notes, n_weights, **facts)


def case(
    n_weights: int = 1, **facts: Any
) -> Callable[[Callable[[], onnx.ModelProto]], Callable[[], onnx.ModelProto]]:
    """Register the decorated builder under its own name, with its docstring as notes."""

    def decorate(build: Callable[[], onnx.ModelProto]) -> Callable[[], onnx.ModelProto]:
        register(build.__name__, build, n_weights, (build.__doc__ or "").strip(), **facts)
        return build

    return decorate
