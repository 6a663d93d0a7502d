"""Write the golden file of the coefficient coder: `python -m tests.golden.make_coder`.

coder.onnx is a model whose outputs are the arrays of coder.npz, coded. Files that are out there decode
by themselves, as their decoder is in them; the golden one shows that, and that today's encoder still
writes the same. Write it anew only when the encoder is meant to choose or write differently, keeping
the one before under the next number (coder_1.onnx, ...): what was written once has to decode for ever.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx

from onnxzip.codec.coding.encoder import encode
from tests.codec.coding.model_builder import build_model

HERE = Path(__file__).parent


def make_arrays() -> dict[str, np.ndarray]:
    """Return arrays that need contexts, literals, a sorted table, an overlay, plain arrays, integers."""
    random = np.random.default_rng(20)
    rows = random.normal(0, 1, (12, 700)) * np.geomspace(0.3, 4, 12)[:, None]
    rows[3, ::150] = 9_999
    arrays = {
        "rows": rows,
        "short": random.laplace(0, 1, (50, 9)),
        "noise": random.integers(-100, 100, (1, 300)),
        "indices": random.integers(0, 11, (1, 1500)),
        "many": random.normal(0, 1.5, (40, 1500)) * np.geomspace(0.1, 4, 40)[:, None],
        "sparse": random.laplace(0, 0.12, (60, 1500)),
    }
    return {name: np.rint(array).astype(np.int32) for name, array in arrays.items()}


if __name__ == "__main__":
    made = make_arrays()
    np.savez_compressed(HERE / "coder.npz", **made)
    onnx.save(build_model(encode(list(made.values())), 13), HERE / "coder.onnx")
