"""Compresses a model above protobuf's 2 GiB, with external data, and prints size, time and peak memory.

    python -m tests.bench.large [FOLDER] -- -1 --passes scalar

Makes 36 layers of 4096 x 4096 random weights (2.25 GiB) in FOLDER, or in a temporary one. What stands
behind -- goes to onnxzip.
"""

from __future__ import annotations

import resource
import sys
import tempfile
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper

from tests.bench.command import compress, split

N_LAYERS, WIDTH = 36, 4096


def write_model(folder: Path) -> Path:
    """Write the model and its data; return the path of the model."""
    rng = np.random.default_rng(0)
    path, n_bytes = folder / "large.onnx", WIDTH * WIDTH * 4
    nodes, tensors = [], []
    with (folder / "large.data").open("wb") as data:
        for i in range(N_LAYERS):
            weight = rng.standard_normal((WIDTH, WIDTH), np.float32) * np.float32((2 / WIDTH) ** 0.5)
            data.write(weight.tobytes())
            tensor = TensorProto(name=f"w{i}", data_type=TensorProto.FLOAT, dims=weight.shape)
            tensor.data_location = TensorProto.EXTERNAL
            for key, value in (("location", "large.data"), ("offset", i * n_bytes), ("length", n_bytes)):
                tensor.external_data.add(key=key, value=str(value))
            tensors.append(tensor)
            nodes.append(helper.make_node("MatMul", [f"x{i}", f"w{i}"], [f"y{i}"]))
            nodes.append(helper.make_node("Relu", [f"y{i}"], [f"x{i + 1}"]))
    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", WIDTH])
        for name in ("x0", f"x{N_LAYERS}")
    ]
    graph = helper.make_graph(nodes, "large", ends[:1], ends[1:], tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path.write_bytes(model.SerializeToString())
    onnx.checker.check_model(path)
    return path


def main(arguments: list[str]) -> int:
    """Print one row."""
    folders, options = split(arguments)
    with tempfile.TemporaryDirectory(dir=folders[0] if folders else None) as name:
        folder = Path(name)
        path, output = write_model(folder), folder / "small.onnx"
        seconds = compress(path, output, *options)
        peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
        before = path.stat().st_size + (folder / "large.data").stat().st_size
        after = sum(file.stat().st_size for file in folder.glob("small.onnx*"))
    print("| bytes before | bytes after | ratio | seconds | peak MB | peak / model |")
    print("|---|---|---|---|---|---|")
    print(
        f"| {before:,} | {after:,} | {before / after:.2f}x | {seconds:.0f} | {peak / 1e6:.0f} "
        f"| {peak / before:.1f} |"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
