"""ncnn: pnnx converts, then ncnn itself runs what that writes, one sample at a time."""

import importlib.metadata
import subprocess
import tempfile
from pathlib import Path

import ncnn
import numpy as np
import pnnx
from kit import main

KINDS = {"float32": "f32", "int64": "i64"}


def load(model, feeds, arguments):
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "model.onnx").write_bytes(model.read_bytes())
        shapes = [f"[{','.join(map(str, x.shape))}]{KINDS[str(x.dtype)]}" for x in feeds.values()]
        command = [Path(pnnx.__file__).with_name("pnnx"), folder / "model.onnx", "fp16=0"]
        subprocess.run([*command, f"inputshape={','.join(shapes)}"], check=True, cwd=folder)
        parts = [folder / f"model.ncnn.{kind}" for kind in ("param", "bin")]
        network = ncnn.Net()
        if network.load_param(str(parts[0])) or network.load_model(str(parts[1])):
            raise RuntimeError("ncnn does not load what pnnx has written")
        n_bytes = sum(part.stat().st_size for part in parts)

    def run(feeds):
        extractor = network.create_extractor()
        for name, array in zip(network.input_names(), feeds.values(), strict=True):
            extractor.input(name, ncnn.Mat(np.ascontiguousarray(array[0])).clone())
        found = [extractor.extract(name) for name in network.output_names()]
        if any(code for code, _ in found):
            raise RuntimeError("ncnn does not run what pnnx has written")
        return [np.array(array) for _, array in found]

    return run, {"n_bytes": n_bytes}


if __name__ == "__main__":
    main(load, importlib.metadata.version("ncnn"), takes_any_size=False)
