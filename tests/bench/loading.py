"""Measures what compressed files cost a user: session creation, memory at load, latency afterwards.

    python -m tests.bench.loading [MODEL...] [-- OPTIONS]

Without a MODEL, four MatMuls of 16.8M Gaussian weights are made. Each model is compressed at the levels
-1, -6 and -9 with the OPTIONS (default: --tolerance 0.3). Sessions of the plain and the compressed file
are created by turns in one process with one thread, the first of each to warm up the memory, and run by
turns; medians are compared. Peaks of memory come from processes of their own.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import onnx

from tests.bench.command import compress, split

LEVELS = ("-1", "-6", "-9")
N_LAYERS, WIDTH = 4, 2048
N_RUNS = 300

CHILD = """
import json, sys, time
import numpy as np
import onnxruntime as ort
options = ort.SessionOptions()
options.intra_op_num_threads = options.inter_op_num_threads = 1
options.log_severity_level = 3
n_creations, n_runs = map(int, sys.argv[1:3])
def peak():
    return int(next(l for l in open("/proc/self/status") if l.startswith("VmHWM")).split()[1]) * 1024
start, creation, latency = peak(), [], []
for i in range(n_creations):
    sessions = []
    for path in sys.argv[3:]:
        begin = time.perf_counter()
        sessions.append(ort.InferenceSession(path, options, providers=["CPUExecutionProvider"]))
        creation.append(time.perf_counter() - begin)
top = peak() - start
types = {"tensor(float)": np.float32, "tensor(int64)": np.int64, "tensor(float16)": np.float16}
feeds = {
    v.name: np.ones([n if isinstance(n, int) else 8 for n in v.shape], types[v.type])
    for v in sessions[0].get_inputs()
} if n_runs else {}
for i in range(n_runs):
    for session in sessions:
        begin = time.perf_counter()
        session.run(None, feeds)
        latency.append(time.perf_counter() - begin)
print(json.dumps([creation, latency, top]))
"""


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


def run_child(n_creations: int, n_runs: int, *paths: Path) -> tuple[list[float], list[float], int]:
    """Return seconds of each creation and each run, by turns, and the peak of memory in bytes."""
    command = [sys.executable, "-c", CHILD, str(n_creations), str(n_runs), *map(str, paths)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    creation, latency, peak = json.loads(done.stdout)
    return creation, latency, peak


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
        creation, latency = run_child(6, 0, model, output)[0], run_child(1, N_RUNS, model, output)[1]
        peaks = [min(run_child(1, 0, path)[2] for _ in range(3)) for path in (model, output)]
    n = n_weights(model)
    plain, coded = (float(np.median(creation[i + 2 :: 2])) for i in range(2))
    before, after = (float(np.median(latency[i + 20 :: 2])) for i in range(2))
    costs = (f"{(coded - plain) / n * 1e9:.0f}", f"{(peaks[1] - peaks[0]) / n:.1f}")
    cells = (model.name, level, f"{model.stat().st_size / size:.2f}x", *costs, f"{after / before:.3f}")
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
