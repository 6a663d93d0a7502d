"""How many samples a run takes."""

from __future__ import annotations

import numpy as np

from onnxzip.inputs.generated.free_sizes import FreeSizes, resolve_run
from onnxzip.runtime.input_spec import InputSpec

F32 = np.dtype(np.float32)


def test_small_samples_come_twelve_in_a_run() -> None:
    """Not where samples are large, where a small one becomes a large picture, or the run is of one."""
    small, large = (InputSpec("x", F32, ("batch", 3, n, n)) for n in (32, 64))
    scores, picture = (InputSpec("y", F32, ("batch", *s)) for s in ((10,), (3, 256, 256)))
    for spec, output, free_sizes, size in (
        (small, scores, FreeSizes(), 12),
        (large, scores, FreeSizes(), 4),
        (small, picture, FreeSizes(), 4),
        (small, scores, FreeSizes(batch=1), 1),
    ):
        assert resolve_run([spec], [output], free_sizes)["x"] == (size, *spec.shape[1:])
