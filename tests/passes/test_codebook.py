"""Codewords of columns: several rungs together are what each is alone."""

import numpy as np
from onnxzip.passes._codebook_columns import encode_columns

from onnxzip.codec.feedback import make_feedback


def test_rungs_together_are_those_alone() -> None:
    rng = np.random.default_rng(5)
    plane = rng.standard_normal((40, 96)).astype(np.float32)
    root = rng.standard_normal((40, 40))
    feedback = make_feedback((root @ root.T + 4 * np.eye(40)).astype(np.float32), 1)
    assert feedback is not None
    rungs = [
        {"vector": length, "codewords": k, "row_scales": scaled, "seed": 0}
        for length, k, scaled in ((4, 64, True), (2, 16, True), (3, 32, False), (1, 16, False))
    ]
    together = encode_columns(plane, rungs, feedback)
    for rung, encoded in zip(rungs, together, strict=True):
        (alone,) = encode_columns(plane, [rung], feedback)
        np.testing.assert_array_equal(encoded.integers["indices"], alone.integers["indices"])
        assert encoded.tables.keys() == alone.tables.keys()
        for name, table in alone.tables.items():
            np.testing.assert_array_equal(encoded.tables[name], table)
