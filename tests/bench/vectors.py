"""Prints what large codebooks and packed scalars take beyond an entropy coded scalar quantiser.

    python -m tests.bench.vectors [MODEL...]

A line a rung: bits a weight, the error, and bits above those of a uniform quantiser of equal error whose
integers take their entropy. Weights are Gaussian, Laplacian and t-distributed (5 degrees of freedom)
numbers, and the float matrices of the models, whose segments are rows; each number counts the same.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from onnxzip.passes._codebook_large import LARGE_RUNGS
from onnxzip.passes.codebook import CodebookPass

from onnxzip.codec.estimates import n_ideal_bits
from onnxzip.codec.fixed_rate import LARGE_RATES, FixedRate
from onnxzip.codec.variable_rate import VariableRate
from onnxzip.passbase import relative_error
from onnxzip.records.layer import Layer, Layout
from onnxzip.records.payload import Encoded
from tests.bench.packing import matrices

SHAPE = (1536, 1536)
RATES = [rate for rate in LARGE_RATES if 2 < rate < 127]


def weights(paths: list[Path]) -> Iterator[tuple[str, np.ndarray]]:
    """Yield names and (rows, columns) float32 weights."""
    rng = np.random.default_rng(0)
    yield "Gaussian", rng.standard_normal(SHAPE).astype(np.float32)
    yield "Laplacian", rng.laplace(size=SHAPE).astype(np.float32)
    yield "t, 5", rng.standard_t(5, SHAPE).astype(np.float32)
    for i, matrix in enumerate(matrices(paths)):
        yield f"matrix {i}", matrix


def rungs(weight: np.ndarray) -> Iterator[tuple[str, float, float]]:
    """Yield what stores a weight, its bits a number, and its error."""
    codec, method = FixedRate(LARGE_RATES), CodebookPass()
    layer = Layer("w", "Gather", weight, Layout((), (0,), (1,), ()))
    for rate in RATES:
        packed = codec.quantize(weight, rate)
        n_bytes = codec.n_bytes(Encoded({"weight": packed}))
        yield f"packed {rate}", 8 * n_bytes / weight.size, relative_error(weight, packed.values())
    for length, n_codewords, others in LARGE_RUNGS:
        for k in sorted((n_codewords, *others)):
            scaled = weight.shape[1] >= 64
            settings = {
                "vector": length,
                "codewords": k,
                "row_scales": scaled,
                "seed": 0,
                "feedback": False,
            }
            encoded = method.encode(layer, settings, codec)
            candidate = method._candidate(layer, weight, settings, encoded, codec)
            yield f"d {length}, {k}", 8 * candidate.n_bytes / weight.size, candidate.error


def bits_at(weight: np.ndarray, errors: list[float]) -> np.ndarray:
    """Return the bits of an entropy coded uniform quantiser at each error."""
    coder, found = VariableRate(), []
    for error in np.geomspace(0.004, 0.4, 12):
        coded = coder.quantize(weight, 1 / (12**0.5 * error))
        bits = (n_ideal_bits(coded.integers) + 16 * len(weight)) / weight.size
        found.append((relative_error(weight, coded.values()), bits))
    known, bits = zip(*sorted(found), strict=True)
    return np.interp(np.log(errors), np.log(known), bits)


def main(arguments: list[str]) -> int:
    """Print a table a weight."""
    for name, weight in weights([Path(argument) for argument in arguments]):
        rows = list(rungs(weight))
        ideal = bits_at(weight, [error for _, _, error in rows])
        print(f"{name}, {weight.shape[0]} x {weight.shape[1]}")
        for (rung, bits, error), least in zip(rows, ideal, strict=True):
            print(f"  {rung:12} {bits:5.2f} bits, error {error:.4f}, {bits - least:+.2f} bits")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
