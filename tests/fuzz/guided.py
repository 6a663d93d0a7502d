"""Lets atheris look for files that reading, listing and decompressing do not survive.

    python -m tests.fuzz.guided [libFuzzer's options, such as -runs=10000 or -max_total_time=600]

Needs `pip install atheris`; without it nothing is run, which is said. atheris follows which branches of
onnxzip a file reaches; half of its mutations are of bytes, half those of `mutations` and `marks`.
Anything raised but an OnnxzipError ends the search, and the file is kept as `crash-*`.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import numpy as np
import onnx

from tests.cases import CASES
from tests.fuzz.instrumented import HAS_ATHERIS, OnnxzipError, atheris, graph, listing, onnxzip
from tests.fuzz.marks import KEY, change_mark, change_payload
from tests.fuzz.mutations import mutate

_SEEDS = ("matmul_right", "if_constants", "function_constant", "external_constant", "sparse_initializer")
_MAX_BYTES = 1 << 16

NOT_INSTALLED = "skipped: atheris is not installed (pip install atheris)"


def try_file(data: bytes) -> None:
    """Read a file in all ways that run no model of a stranger; an error on purpose is fine."""
    try:
        model = graph.read_model(data)
        graph.find_layers(model)
        graph.read_ports(model)
        listing.inspect(data)
    except OnnxzipError:
        return


def change(data: bytes, max_bytes: int, seed: int) -> bytes:
    """Return a file with a mutation that knows what models are; as it was where it is no model."""
    rng = np.random.default_rng(seed)
    try:
        model = onnx.ModelProto.FromString(data)
        if rng.random() < 0.3 and any(entry.key == KEY for entry in model.metadata_props):
            (change_mark if rng.random() < 0.5 else _forge)(rng, model)
        else:
            mutate(rng, model, 1)
        changed = model.SerializeToString()
    except Exception:  # the mark is no longer one, or the file no longer a model
        return data
    return changed if len(changed) <= max_bytes else data


def _forge(rng: np.random.Generator, model: onnx.ModelProto) -> None:
    change_payload(rng, model, forge=True)


def main(options: list[str]) -> int:
    """Search until libFuzzer's options end it."""
    if not HAS_ATHERIS:
        print(NOT_INSTALLED)
        return 0

    def mutator(data: bytes, max_bytes: int, seed: int) -> bytes:
        if seed % 2:
            return bytes(atheris.Mutate(data, max_bytes))
        return change(bytes(data), max_bytes, seed)

    with tempfile.TemporaryDirectory(prefix="guided-") as name:
        for case in _SEEDS:
            (Path(name) / case).write_bytes(CASES[case].build().SerializeToString())
        small = onnxzip.compress(CASES["matmul_right"].build(), passes="scalar", level=1).model
        assert small is not None
        (Path(name) / "compressed").write_bytes(small.SerializeToString())
        arguments = [sys.argv[0], name, f"-max_len={_MAX_BYTES}", "-rss_limit_mb=4096", *options]
        atheris.Setup(arguments, try_file, custom_mutator=mutator)
        atheris.Fuzz()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
