"""Prints how many bits a weight takes when it is packed, at equal error, by group and grid of steps.

    python -m tests.bench.packing MODEL...

Bits are those of integers and steps less those that the error is worth, log2(1 / error), so that the
smallest figure of a row is the best, and rows compare. Weights are the float matrices of the models from
65,536 elements on, as they lie, rounded each number for itself.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper

from onnxzip.codec import fixed_rate
from onnxzip.codec.coding.packed import n_packed_bytes
from onnxzip.codec.coding.split import packed_factor, split
from onnxzip.codec.estimates import n_step_bytes

_LEAST = 1 << 16
_MOST_ROWS = 2000
GROUPS = (32, 64, 128)
GRIDS = (4, 8, 16, 32)


def matrices(paths: Iterable[Path]) -> list[np.ndarray]:
    """Return float matrices whose rows groups of each size divide."""
    found = []
    for path in paths:
        for tensor in onnx.load(path).graph.initializer:
            array = numpy_helper.to_array(tensor)
            if array.dtype == np.float32 and array.ndim >= 2 and array.size >= _LEAST:
                flat = array.reshape(len(array), -1)
                if flat.shape[1] % max(GROUPS) == 0:
                    found.append(np.ascontiguousarray(flat[:_MOST_ROWS]))
    return found


def bits_at_no_error(weights: Iterable[np.ndarray], rate: float) -> float:
    """Return the mean over weights of the bits a number takes less those that its error is worth."""
    codec, found = fixed_rate.FixedRate(), []
    for weight in weights:
        quantised = codec.quantize(weight, rate)
        factor = packed_factor(quantised.integers)
        parts = split(quantised.integers, factor) if factor > 1 else [quantised.integers]
        n_bytes = sum(map(n_packed_bytes, parts)) + n_step_bytes(quantised.steps)
        error = np.linalg.norm(weight - quantised.values()) / np.linalg.norm(weight)
        found.append(8 * n_bytes / weight.size + np.log2(error))
    return float(np.mean(found))


def main(arguments: list[str]) -> int:
    """Print a row a rate, first by the size of groups, then by the grid of their steps."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.packing")
    parser.add_argument("models", nargs="+", type=Path)
    weights = matrices(parser.parse_args(arguments).models)
    names = ("_GROUP", "_GROUP_OF_FINE_RATES"), ("_STEPS_PER_OCTAVE",)
    for title, settings, values in zip(
        ("numbers a step", "steps an octave"), names, (GROUPS, GRIDS), strict=True
    ):
        print(f"| {title} |", *(f"{value} |" for value in values))
        print("|---|" + "---|" * len(values))
        before = {name: getattr(fixed_rate, name) for name in settings}
        for rate in (*fixed_rate.LARGE_RATES[:-2], 127):
            row = []
            for value in values:
                for name in settings:
                    setattr(fixed_rate, name, value)
                row.append(f"{bits_at_no_error(weights, rate):.3f} |")
            print(f"| rate {rate} |", *row, flush=True)
        for name, value in before.items():
            setattr(fixed_rate, name, value)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
