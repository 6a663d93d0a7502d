"""What a tool writes of a file, loaded in onnxruntime: `optimised`, `ort`, `onnxsim` or `onnxslim`."""

import importlib.metadata
import subprocess
import sys
import tempfile
from pathlib import Path

import onnxruntime as ort
from kit import main
from run_onnxruntime import open_session


def optimise(model, folder):
    """Onnxruntime's own optimized_model_filepath, on the level of graphs that any machine runs."""
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    options.optimized_model_filepath = str(folder / "optimised.onnx")
    ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def to_ort(model, folder):
    (folder / "model.onnx").write_bytes(model.read_bytes())
    command = [sys.executable, "-m", "onnxruntime.tools.convert_onnx_models_to_ort"]
    styles = ("--optimization_style", "Fixed")
    subprocess.run([*command, folder / "model.onnx", *styles], check=True)
    (folder / "model.onnx").unlink()


def simplify(model, folder):
    import onnx
    import onnxsim

    made, _ = onnxsim.simplify(onnx.load(model))
    onnx.save(made, folder / "simplified.onnx")


def slim(model, folder):
    import onnxslim

    onnxslim.slim(str(model), str(folder / "slim.onnx"))


TOOLS = {
    "optimised": (optimise, "onnxruntime"),
    "ort": (to_ort, "onnxruntime"),
    "onnxsim": (simplify, "onnxsim"),
    "onnxslim": (slim, "onnxslim"),
}


def load(model, feeds, arguments):
    tool, _ = TOOLS[arguments[0]]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        tool(model, folder)
        (made,) = [path for path in folder.iterdir() if path.suffix in (".onnx", ".ort")]
        session = open_session(made)
        return lambda feeds: session.run(None, feeds), {"n_bytes": made.stat().st_size}


if __name__ == "__main__":
    main(load, importlib.metadata.version(TOOLS[sys.argv[4]][1]))
