"""MNN: its converter, then its own runtime on what that writes."""

import importlib.metadata
import subprocess
import sys
import tempfile
from pathlib import Path

import MNN
import MNN.expr
import MNN.nn
import MNN.numpy
from kit import main


def load(model, feeds, arguments):
    with tempfile.TemporaryDirectory() as name:
        made = Path(name) / "model.mnn"
        command = [Path(sys.executable).with_name("mnnconvert"), "-f", "ONNX", "--bizCode", "MNN"]
        files = ("--modelFile", model, "--MNNModel", made)
        subprocess.run([*command, *files, "--keepInputFormat=1"], check=True)
        network = MNN.nn.load_module_from_file(str(made), list(feeds), [])
        n_bytes = made.stat().st_size

    def run(feeds):
        given = [MNN.expr.const(array, list(array.shape)) for array in feeds.values()]
        made = network.forward(given)
        plain = [MNN.expr.convert(value, MNN.expr.NCHW) for value in made]
        return [value.read().copy() for value in plain]

    return run, {"n_bytes": n_bytes}


if __name__ == "__main__":
    main(load, importlib.metadata.version("mnn"))
