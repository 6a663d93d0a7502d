"""What is quantised already: what files take, beside other coders of the same integers.

    python -m tests.bench.quantised MODEL... -- -6
    python -m tests.bench.quantised --shifts MODEL...

The first prints a row for each model: its bytes, those of its tensors of 16 bits and less; what these
take in zeroth-order entropy, in the entropies of 8 classes of rows or columns, and as xz; the file that
onnxzip makes, and the worst loss. What stands behind -- goes to onnxzip. The second codes integers of
8 and 16 bits with so many low bits left out (`codec.estimates.choose_whole_shift`), and prints bits and
bytes of memory at load for each.
"""

from __future__ import annotations

import json
import lzma
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from onnxzip.codec.coding.encoder import encode
from onnxzip.codec.coding.split import split
from onnxzip.graph.reading.scope import iter_bodies
from onnxzip.graph.reading.tensors import constant_value, is_kept_exactly, n_raw_bytes
from tests.bench.command import split as split_arguments
from tests.codec.coding.model_builder import build_model

_N_CLASSES, _LEAST = 8, 1024


def narrow_tensors(path: Path) -> Iterator[onnx.TensorProto]:
    """Yield the large tensors whose elements take at most 16 bits and stay exact."""
    for body in iter_bodies(onnx.load(path)):
        tensors = list(body.initializer) if isinstance(body, onnx.GraphProto) else []
        tensors += [tensor for node in body.node if (tensor := constant_value(node)) is not None]
        for tensor in tensors:
            n_elements = int(np.prod(tensor.dims))
            if (
                n_elements >= _LEAST
                and is_kept_exactly(tensor)
                and n_raw_bytes(tensor) <= 2 * n_elements
            ):
                yield tensor


def numbers_of(tensor: onnx.TensorProto) -> NDArray[np.int32]:
    """Return a tensor's integers as a plane, rows along the first axis; the bits of 8-bit floats."""
    array = numpy_helper.to_array(tensor)
    array = array.view(np.uint8) if "float" in array.dtype.name else array
    return np.ascontiguousarray(array.astype(np.int32).reshape(len(array) if array.ndim > 1 else 1, -1))


def entropy(numbers: NDArray[np.int32]) -> float:
    """Return bits."""
    counts = np.unique(numbers, return_counts=True)[1]
    return float((counts * np.log2(numbers.size / counts)).sum())


def entropy_of_classes(plane: NDArray[np.int32]) -> float:
    """Return bits within classes of rows, or of columns, by how they spread."""
    found = [entropy(plane)]
    for rows in (plane, plane.T):
        order = np.argsort(np.abs(rows - np.median(rows)).mean(axis=1))
        n_classes = min(_N_CLASSES, max(1, rows.size // 4096), len(rows))
        found.append(sum(entropy(rows[part]) for part in np.array_split(order, n_classes)))
    return min(found)


def row_of(path: Path, options: list[str]) -> tuple[str, ...]:
    """Compress a model and return its row."""
    tensors = list(narrow_tensors(path))
    planes = [numbers_of(tensor) for tensor in tensors]
    raw = b"".join(numpy_helper.from_array(numpy_helper.to_array(t)).raw_data for t in tensors)
    cells = [path.stat().st_size, sum(map(n_raw_bytes, tensors))]
    cells += [int(sum(map(measure, planes)) / 8) for measure in (entropy, entropy_of_classes)]
    cells.append(len(lzma.compress(raw)) if raw else 0)
    with tempfile.TemporaryDirectory() as folder:
        output, report = Path(folder) / "out.onnx", Path(folder) / "report.json"
        command = [sys.executable, "-m", "onnxzip", "-q", "--report", str(report), *options]
        done = subprocess.run([*command, str(path), str(output)], capture_output=True, text=True)
        if done.returncode:
            return (path.name, *(f"{cell:,}" for cell in cells), f"exit {done.returncode}", "-")
        drifts = [c for c in json.loads(report.read_text())["checks"] if c["kind"] == "drift"]
        cells.append(output.stat().st_size)
    return (path.name, *(f"{cell:,}" for cell in cells), f"{max(c['value'] for c in drifts):.3g}")


def print_shifts(path: Path) -> None:
    """Print what coding the integers of a model takes, by how many low bits are left out."""
    planes = [plane for tensor in narrow_tensors(path) if len(plane := numbers_of(tensor)) > 1]
    n_integers = sum(plane.size for plane in planes)
    for shift in (0, 1, 2, 4, 8):
        highs = [split(plane, 1 << shift)[0] if shift else plane for plane in planes]
        streams = encode([high.astype(np.int32) for high in highs])
        model = build_model(streams)
        n_bits = 8 * model.ByteSize() / n_integers + shift
        n_load = 0
        for info in model.graph.value_info:
            kind = info.type.tensor_type
            dtype = onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type)
            n_load += int(np.prod([d.dim_value for d in kind.shape.dim])) * dtype.itemsize
        length = streams.book.order.length if streams.book else 0
        cells = (path.name, str(shift), f"{n_bits:.3f}", str(length), f"{n_load / n_integers:.1f}")
        print("| " + " | ".join(cells) + " |", flush=True)


def main(arguments: list[str]) -> int:
    """Print one table."""
    models, options = split_arguments(arguments)
    shifts = "--shifts" in models
    columns = ["model", "bytes", "narrow", "order 0", "classes", "xz", "onnxzip", "worst loss"]
    columns = ["model", "low bits", "bits", "integers a tuple", "bytes at load"] if shifts else columns
    print("| " + " | ".join(columns) + " |", "|" + "---|" * len(columns), sep="\n")
    for model in (Path(name) for name in models if name != "--shifts"):
        if shifts:
            print_shifts(model)
        else:
            print("| " + " | ".join(row_of(model, options)) + " |", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
