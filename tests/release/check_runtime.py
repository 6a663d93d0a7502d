"""Checks a folder of compressed models on the onnxruntime at hand; needs that and numpy, nothing else.

`runtimes` makes the folder and calls this with each version's own Python.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import onnxruntime as ort

_LEVELS = ("ORT_DISABLE_ALL", "ORT_ENABLE_BASIC", "ORT_ENABLE_ALL")
_TOO_NEW = ("Unsupported model IR version", "is under development", "till opset", "ONNX Runtime only")


def session(path: Path, level: str) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.graph_optimization_level = getattr(ort.GraphOptimizationLevel, level)
    options.log_severity_level = 4
    return ort.InferenceSession(path.read_bytes(), options, providers=["CPUExecutionProvider"])


def feeds_of(model: ort.InferenceSession) -> dict[str, np.ndarray]:
    """Return random inputs; free dimensions are 4."""
    rng = np.random.default_rng(0)
    shapes = {i.name: [n if isinstance(n, int) else 4 for n in i.shape] for i in model.get_inputs()}
    return {name: rng.random(shape).astype(np.float32) for name, shape in shapes.items()}


def differences(small: Path) -> list[str]:
    """Return at which optimisation levels decoded weights or outputs are not the plain file's."""
    found = []
    expected = np.load(small.with_suffix(".npz"))
    for level in _LEVELS:
        decoder = session(small.with_suffix(".decoder"), level)
        names = [output.name for output in decoder.get_outputs()]
        for name, array in zip(names, decoder.run(None, {}), strict=True):
            if array.tobytes() != expected[name].tobytes():
                found.append(f"{small.name}: {name} at {level}")
        first, second = session(small.with_suffix(".plain"), level), session(small, level)
        feeds = feeds_of(first)
        for before, after in zip(first.run(None, feeds), second.run(None, feeds), strict=True):
            if before.tobytes() != after.tobytes():
                found.append(f"{small.name}: outputs at {level}")
    return found


def main(folder: Path) -> int:
    """Print a row of the table; what differs goes to stderr."""
    n_checked = n_too_new = 0
    found: list[str] = []
    for small in sorted(folder.glob("*.small")):
        try:
            session(small.with_suffix(".plain"), _LEVELS[0])
        except Exception as error:
            if not any(text in str(error) for text in _TOO_NEW):
                raise
            n_too_new += 1
            continue
        found += differences(small)
        n_checked += 1
    print(f"| {ort.__version__} | {n_checked} | {n_too_new} | {len(found)} |")
    print("; ".join(found), file=sys.stderr)
    return 1 if found or not n_checked else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
