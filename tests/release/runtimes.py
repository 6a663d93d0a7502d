"""Runs compressed files on old and new versions of onnxruntime, each in an environment of its own.

    python -m tests.release.runtimes [VERSION...]

Compresses the networks of models/ and one at each of several opsets, at levels 1, 6 and 9, and has
`check_runtime` load them: decoded weights and outputs have to be those of the plain file, bit for bit,
at optimisation off, basic and all. Prints a table, and exits with 1 where anything differs.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import onnx

import onnxzip
from onnxzip import graph
from onnxzip.prove.decoded_weights import decode_weights
from tests.casebook.formats import network, newest_opset
from tests.release.trials.environments import UnavailableError, make_python

VERSIONS = ("1.17.3", "1.20.1", "1.23.2", "1.27.0", "newest")
OPSETS = (11, 13, 17, 21)
LEVELS = (1, 6, 9)
_MODELS = Path(__file__).parents[2] / "models"
_CHECK = Path(__file__).with_name("check_runtime.py")
_LAST_WITH_NUMPY_1 = (1, 18)


def make_models(folder: Path) -> None:
    """Write the plain models, named after what they are and their opset."""
    for source in sorted(_MODELS.glob("*.onnx")):
        proto = onnx.load(source)
        onnx.save(proto, folder / f"{source.stem}.{proto.opset_import[0].version}.onnx")
    for opset in sorted({*OPSETS, newest_opset()}):
        proto = network(opset)
        proto.ir_version = onnx.helper.find_min_ir_version_for(list(proto.opset_import))
        onnx.save(proto, folder / f"network.{opset}.onnx")


def compress(source: Path, level: int) -> None:
    """Write the compressed model, what it decodes to, its decoder alone, and the plain model of that."""
    stem = source.with_suffix("")
    small = Path(f"{stem}.{level}.small")
    onnxzip.compress(source, small, level=level, passes=("scalar", "dct", "codebook"))
    onnxzip.decompress(small, Path(f"{stem}.{level}.plain"))
    model = graph.read_model(small)
    n_nodes, _ = graph.read_mark(model)
    graph.write_model(graph.decoder(model, n_nodes), Path(f"{stem}.{level}.decoder"))
    np.savez(f"{stem}.{level}.npz", **decode_weights(model, n_nodes))


def run(version: str, folder: Path, work: Path) -> subprocess.CompletedProcess[str]:
    """Install a version of onnxruntime and check all models in the folder on it.

    Raises:
        UnavailableError: pip does not get it.
    """
    numbers = None if version == "newest" else tuple(map(int, version.split(".")[:2]))
    runtime = "onnxruntime" if numbers is None else f"onnxruntime=={version}"
    numpy = "numpy<2" if numbers is not None and numbers <= _LAST_WITH_NUMPY_1 else "numpy"
    python = make_python(work / version, (runtime, numpy))
    command = [str(python), str(_CHECK), str(folder)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def main(versions: list[str]) -> int:
    """Print one row a version."""
    n_failed = 0
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        folder = work / "models"
        folder.mkdir()
        make_models(folder)
        for source in sorted(folder.glob("*.onnx")):
            for level in LEVELS:
                compress(source, level)
        print("| onnxruntime | files checked | opset too new for it | different | finding |")
        print("|---|---|---|---|---|")
        for version in versions or VERSIONS:
            try:
                done = run(version, folder, work)
            except UnavailableError as error:
                print(f"| {version} | skipped: {error} |", flush=True)
                continue
            row = done.stdout.strip() or "| - | - | - | - |"
            problem = "" if done.returncode == 0 else f" {done.stderr.strip()[-300:]}"
            print(row + problem, flush=True)
            n_failed += done.returncode != 0
    return 1 if n_failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
