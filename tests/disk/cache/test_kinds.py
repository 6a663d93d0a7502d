"""Records as entries and back."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from onnxzip.disk.cache.content import digest
from onnxzip.disk.cache.entry import Kind, from_bytes, to_bytes
from onnxzip.disk.cache.kinds import (
    ABSENT,
    CANDIDATES,
    REACHED,
    REFITS,
    SENSITIVITIES,
    STATISTICS,
    TRIALS,
)
from onnxzip.records.layer import Statistics
from onnxzip.records.payload import Coefficients, Encoded
from onnxzip.records.plan import Candidate, Skip

ENCODED = Encoded(
    {
        "a": Coefficients(np.arange(6, dtype=np.int8).reshape(2, 3), np.ones((1, 1), np.float32)),
        "b": Coefficients(
            *(np.ones((2, 2), np.int32), np.ones((1, 1), np.float32)),
            is_fixed_rate=True,
            outer=np.ones((2, 1, 1), np.float32),
        ),
    },
    {"indices": np.zeros((1, 4), np.int32)},
    {"book": np.linspace(0, 1, 3).astype(np.float16), "a": np.zeros(0, np.int64)},
)
CANDIDATE = Candidate(
    ABSENT, "dct", {"rate": 0.25, "block": 8, "refit": True, "kind": "row"}, 1234, 0.1 + 0.2, ENCODED
)
EXAMPLES: list[tuple[Kind[Any], Any]] = [
    (STATISTICS, (Statistics(np.eye(3, dtype=np.float32), 77, 2), None)),
    (STATISTICS, (None, np.array([0.5, 1.5], np.float32))),
    (STATISTICS, (None, None)),
    (CANDIDATES, ([CANDIDATE.released()], [Skip("w", "dct", "too small")])),
    (CANDIDATES, ([], [])),
    (REFITS, ({"w": CANDIDATE, "of w": CANDIDATE}, {"bias": np.ones(3, np.float64)})),
    (REFITS, ({}, {})),
    (SENSITIVITIES, 0.1),
    (SENSITIVITIES, float("inf")),
    (REACHED, ["w", "v"]),
    (TRIALS, (0.1, 0.2, True)),
]


@pytest.mark.parametrize(("kind", "result"), EXAMPLES)
def test_a_result_comes_back_to_the_last_bit(kind: Kind[Any], result: Any) -> None:
    found = kind.unpack(from_bytes(to_bytes(kind.pack(result), is_small=kind.is_small)))
    assert type(found) is type(result)
    assert digest(found) == digest(result)
