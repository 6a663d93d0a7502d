"""Measures what compressed files cost a user: session creation, memory at load, latency afterwards.

    python -m tests.bench.loading [MODEL...] [-- OPTIONS]

Without a MODEL, four MatMuls of 16.8M Gaussian weights are made. Each model is compressed at the levels
-1, -6 and -9 with the OPTIONS (default: --tolerance 0.3). It is measured as `onnxzip --bench` does, with
one thread: sessions are created in processes of their own, runs of the plain and the compressed file
take turns in one process.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort

from onnxzip.comparison.costs import cost_of_loading, latency_ratio
from onnxzip.runtime.apart import Limits
from tests.bench.command import compress, split

LEVELS = ("-1", "-6", "-9")
N_LAYERS, WIDTH = 4, 2048
TYPES = {"tensor(float)": np.float32, "tensor(int64)": np.int64, "tensor(float16)": np.float16}
LIMITS = Limits(cpu_s=3600)


def make_model(path: Path) -> None:
    """Write four MatMuls with normal weights, and Tanhs between them."""
    rng = np.random.default_rng(0)
    nodes, weights, value = [], [], "x"
    for i in range(N_LAYERS):
        weight = rng.standard_normal((WIDTH, WIDTH), dtype=np.float32) / np.float32(WIDTH**0.5)
        weights.append(onnx.numpy_helper.from_array(weight, f"w{i}"))
        nodes.append(onnx.helper.make_node("MatMul", [value, f"w{i}"], [f"m{i}"]))
        nodes.append(onnx.helper.make_node("Tanh", [f"m{i}"], [f"t{i}"]))
        value = f"t{i}"
    values = [
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["n", WIDTH])
        for name in ("x", value)
    ]
    graph = onnx.helper.make_graph(nodes, "synthetic", values[:1], values[1:], weights)
    opsets = [onnx.helper.make_opsetid("", 17)]
    onnx.save(onnx.helper.make_model(graph, opset_imports=opsets, ir_version=8), path)


def ones(model: Path) -> dict[str, np.ndarray]:
    """Return inputs of ones, eight along each free axis."""
    return {
        v.name: np.ones([n if isinstance(n, int) else 8 for n in v.shape], TYPES[v.type])
        for v in ort.InferenceSession(model).get_inputs()
    }


def n_weights(path: Path) -> int:
    """Count the elements of a model's large float initializers."""
    sizes = (int(np.prod(t.dims)) for t in onnx.load(path).graph.initializer)
    return sum(size for size in sizes if size >= 256)


def measure(model: Path, level: str, options: list[str]) -> str:
    """Return a row of the table."""
    with tempfile.TemporaryDirectory() as work:
        output = Path(work) / "out.onnx"
        compress(model, output, level, *options)
        size = output.stat().st_size
        before, after = (cost_of_loading(path, LIMITS) for path in (model, output))
        latency = latency_ratio(output, model, ones(model), LIMITS)
    n = n_weights(model)
    grown = (after.n_bytes or 0) - (before.n_bytes or 0)
    costs = (f"{(after.cpu_s - before.cpu_s) / n * 1e9:.0f}", f"{grown / n:.1f}")
    cells = (model.name, level, f"{model.stat().st_size / size:.2f}x", *costs, f"{latency:.3f}")
    return f"| {' | '.join(cells)} |"


def main(arguments: list[str]) -> int:
    """Print one row a model and level."""
    models, options = split(arguments)
    with tempfile.TemporaryDirectory() as work:
        if not models:
            make_model(Path(work) / "synthetic.onnx")
            models = [str(Path(work) / "synthetic.onnx")]
        print("| model | level | ratio | ns/weight at load | bytes/weight at load | latency |")
        print("|---|---|---|---|---|---|")
        for model in map(Path, models):
            for level in LEVELS:
                print(measure(model, level, options or ["--tolerance", "0.3"]), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
