"""Measures what compressing holds of memory, beside the model, and what passes hold beside a weight.

    python -m tests.bench.memory [SIZE...] [-- OPTIONS]      e.g. 0.1 0.5 2.4, in GB; default 0.1 0.5
    python -m tests.bench.memory passes [WIDTH]              default 2048

The models are made: transformers (Gather, LayerNormalization, MatMul, Softmax), their data in a file of
their own, every second one of weights with Student's t-distribution of 5 degrees, others Gaussian.
The peak is what the report states: memory that lies in no file, of all processes of the run. It is held
against 400 MB and twice the largest weight. Linux only.
"""

from __future__ import annotations

import json
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper

from onnxzip.codec.level import level
from onnxzip.options import Options
from onnxzip.propose.offers import collect_offers
from onnxzip.propose.registry import make_passes
from onnxzip.records.layer import Layer, Layout, Statistics
from onnxzip.runtime.memory.held import held_bytes
from tests.bench.command import compress, split

Draw = Callable[[int], NDArray[np.float32]]

SHAPES = {0.1: (512, 6, 12_000), 0.5: (1024, 8, 24_000), 2.4: (2048, 10, 48_000), 10: (4096, 12, 96_000)}
"""Width, blocks and words by size in GB."""

FIXED_BYTES, N_LARGEST = 400_000_000, 2
LOOK_S = 0.002


class Transformer:
    """A model that is written while it is made: weights go to the file of its data at once."""

    def __init__(self, path: Path, width: int, n_blocks: int, n_words: int, draw: Draw) -> None:
        """Write the model and its data."""
        self.largest = 0
        self._draw, self._width = draw, width
        self._nodes: list[onnx.NodeProto] = []
        self._tensors: list[onnx.TensorProto] = []
        data = path.with_suffix(".data")
        with data.open("wb") as self._file:
            self._location = data.name
            last = self._model(n_blocks, n_words)
        ids = helper.make_tensor_value_info("ids", TensorProto.INT64, ["batch", "length"])
        out = helper.make_tensor_value_info(last, TensorProto.FLOAT, ["batch", "length", width])
        graph = helper.make_graph(self._nodes, "transformer", [ids], [out], self._tensors)
        opsets = [helper.make_opsetid("", 17)]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=8)
        path.write_bytes(model.SerializeToString())

    def _model(self, n_blocks: int, n_words: int) -> str:
        n_heads = self._width // 64
        for name, sizes in (("split", [0, 0, n_heads, 64]), ("join", [0, 0, self._width])):
            self._tensors.append(onnx.numpy_helper.from_array(np.array(sizes, np.int64), name))
        self._tensors.append(onnx.numpy_helper.from_array(np.array(0.125, np.float32), "eighth"))
        last = self._node("Gather", self._weight("words", n_words, self._width, scale=1.0), "ids")
        for i in range(n_blocks):
            last = self._node("Add", last, self._attention(self._norm(last), f"b{i}"))
            wide = self._linear(self._norm(last), f"b{i}.up", self._width, 4 * self._width)
            wide = self._node("Mul", wide, self._node("Sigmoid", wide))
            last = self._node(
                "Add", last, self._linear(wide, f"b{i}.down", 4 * self._width, self._width)
            )
        return self._norm(last)

    def _attention(self, value: str, name: str) -> str:
        orders = {"q": (0, 2, 1, 3), "k": (0, 2, 3, 1), "v": (0, 2, 1, 3)}
        parts = {}
        for part, order in orders.items():
            made = self._linear(value, f"{name}.{part}", self._width, self._width)
            parts[part] = self._node("Transpose", self._node("Reshape", made, "split"), perm=order)
        scores = self._node("Mul", self._node("MatMul", parts["q"], parts["k"]), "eighth")
        mixed = self._node("MatMul", self._node("Softmax", scores, axis=-1), parts["v"])
        joined = self._node("Reshape", self._node("Transpose", mixed, perm=(0, 2, 1, 3)), "join")
        return self._linear(joined, f"{name}.o", self._width, self._width)

    def _linear(self, value: str, name: str, n_in: int, n_out: int) -> str:
        product = self._node("MatMul", value, self._weight(name, n_in, n_out, scale=n_in**-0.5))
        return self._node("Add", product, self._weight(f"{name}.bias", n_out, scale=0.02))

    def _norm(self, value: str) -> str:
        name = f"norm{len(self._nodes)}"
        gain = self._weight(name, self._width, scale=0.1, mean=1.0)
        return self._node("LayerNormalization", value, gain, self._weight(f"{name}.bias", self._width))

    def _weight(self, name: str, *shape: int, scale: float = 0.1, mean: float = 0.0) -> str:
        array = np.float32(scale) * self._draw(int(np.prod(shape))) + np.float32(mean)
        tensor = TensorProto(name=name, data_type=TensorProto.FLOAT, dims=shape)
        tensor.data_location = TensorProto.EXTERNAL
        place = {"location": self._location, "offset": self._file.tell(), "length": array.nbytes}
        for key, value in place.items():
            tensor.external_data.add(key=key, value=str(value))
        self._file.write(array.astype(np.float32).tobytes())
        self._tensors.append(tensor)
        self.largest = max(self.largest, array.nbytes)
        return name

    def _node(self, op_type: str, *inputs: str, **attributes: object) -> str:
        output = f"v{len(self._nodes)}"
        self._nodes.append(helper.make_node(op_type, inputs, [output], **attributes))
        return output


def drawn(rng: np.random.Generator, *, has_tails: bool) -> Draw:
    """Return what draws numbers of variance 1, with long tails or Gaussian ones."""
    if has_tails:
        return lambda n: (rng.standard_t(5, n) * 0.6**0.5).astype(np.float32)
    return lambda n: rng.standard_normal(n, np.float32)


def row(size: float, options: list[str], *, has_tails: bool) -> str:
    """Make a model, compress it, and return what that took as cells of the table."""
    with tempfile.TemporaryDirectory() as work:
        path, output, report = (Path(work) / name for name in ("m.onnx", "small.onnx", "report.json"))
        model = Transformer(path, *SHAPES[size], drawn(np.random.default_rng(0), has_tails=has_tails))
        seconds = compress(path, output, *options, "--report", str(report))
        told = json.loads(report.read_text())
    before, peak, bound = (
        told["bytes_before"],
        told["peak_memory"],
        FIXED_BYTES + N_LARGEST * model.largest,
    )
    sizes = [f"{n / 1e6:,.1f}" for n in (before, told["bytes_after"], model.largest, peak)]
    kind = "t" if has_tails else "Gaussian"
    holds = f"{bound / 1e6:,.0f}" + ("" if peak <= bound else ", NO")
    return f"| {' | '.join([kind, *sizes, f'{peak / before:.2f}', holds, f'{seconds:.0f}'])} |"


def copies(width: int, *, is_measured: bool) -> None:
    """Print what each pass holds at most while it works on a weight, in copies of that weight.

    Args:
        width: of the weight, a square.
        is_measured: whether the second moment of what it meets is known, as it is with the user's data.
    """
    rng = np.random.default_rng(0)
    weight = rng.standard_normal((width, width), np.float32)
    vectors = rng.standard_normal((2 * width, width), np.float32)
    moment = vectors.T @ vectors / np.float32(2 * width) if is_measured else None
    statistics = None if moment is None else Statistics(moment, 2 * width)
    layer = Layer("w", "MatMul", weight, Layout((), (1,), (0,), ()), statistics=statistics)
    codec, peak = level(6).codecs([layer])["w"], 0
    is_over = threading.Event()

    def look() -> None:
        nonlocal peak
        while not is_over.wait(LOOK_S):
            peak = max(peak, held_bytes())

    threading.Thread(target=look, daemon=True).start()
    print(f"\n{'With' if is_measured else 'Without'} a second moment:\n")
    print("| pass | copies stated | copies held |")
    print("|---|---|---|")
    for name, method in make_passes(Options())[0].items():
        before = peak = held_bytes()
        found, _ = collect_offers(layer, {name: method}, codec)
        for candidate in found[-1:]:
            encoded = method.encode(layer, candidate.settings, codec)
            layer.from_canonical(method.restore(replace(candidate, layer=layer, encoded=encoded)))
        time.sleep(2 * LOOK_S)
        print(f"| {name} | {method.n_copies:g} | {(peak - before) / weight.nbytes:.1f} |", flush=True)
    is_over.set()


def main(arguments: list[str]) -> int:
    """Print one row a model, or one a pass."""
    sizes, options = split(arguments)
    if sizes[:1] == ["passes"]:
        for is_measured in (False, True):
            copies(int(sizes[1]) if len(sizes) > 1 else 2048, is_measured=is_measured)
        return 0
    print("| weights | MB before | MB after | largest MB | peak MB | peak / model | bound MB | s |")
    print("|---|---|---|---|---|---|---|---|")
    for i, size in enumerate(map(float, sizes or ["0.1", "0.5"])):
        print(row(size, options or ["--tolerance", "0.3"], has_tails=i % 2 == 1), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
