"""What small errors of all weights cost on real inputs: where choose.blind.HARMLESS_ERROR comes from.

    python -m tests.bench.harmless FOLDER [NAME...] [--dev] [--seen] [--held] [-- ERROR...]

Adds Gaussian noise, of some share of each tensor's own size, to every float initializer of 256 and more
elements, and prints |y - y'| / |y - mean over samples| of the worst output on the model's real inputs.
FOLDER is that of `tests.bench.unseen`.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper

from tests.bench.command import split
from tests.bench.zoo.model import answers, nrmse
from tests.bench.zoo.table import MODELS

ERRORS = ("0.0003", "0.0007", "0.003")
MIN_ELEMENTS = 256


def with_noise(source: Path, error: float) -> onnx.ModelProto:
    """Return a model whose large float tensors are off by noise of a share of their root mean square."""
    model = onnx.load(source)
    rng = np.random.default_rng(0)
    for tensor in model.graph.initializer:
        array = numpy_helper.to_array(tensor)
        if array.dtype.kind == "f" and array.size >= MIN_ELEMENTS:
            scale = error * float(np.sqrt(np.mean(array.astype(np.float64) ** 2)))
            noisy = (array + scale * rng.standard_normal(array.shape)).astype(array.dtype)
            tensor.CopyFrom(numpy_helper.from_array(noisy, tensor.name))
    return model


def main(arguments: list[str]) -> int:
    """Print a Markdown table, one row a model."""
    words, options = split(arguments)
    errors = options or list(ERRORS)
    splits = {word.removeprefix("--") for word in words if word.startswith("--")}
    folder, *names = [word for word in words if not word.startswith("--")]
    print(f"| model | {' | '.join(errors)} |", "|---|" + "---|" * len(errors), sep="\n", flush=True)
    for model in MODELS:
        source = next(Path(folder).glob(model.file), None)
        is_wanted = model.name in names if names else not splits or model.split in splits
        if source is None or not is_wanted:
            continue
        sequences = model.inputs(Path(folder))
        first = answers(source, model, sequences)
        cells = []
        for error in errors:
            with tempfile.TemporaryDirectory() as work:
                path = Path(work) / "noisy.onnx"
                onnx.save(with_noise(source, float(error)), path)
                second = answers(path, model, sequences)
            cells.append(f"{max(nrmse(parts, second[name]) for name, parts in first.items()):.2g}")
        print(f"| {model.name} | {' | '.join(cells)} |", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
