"""Records as entries and back."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from onnxzip.disk.cache.content import digest
from onnxzip.disk.cache.entry import DAMAGED, Entry, Kind, from_bytes, to_bytes
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
            lost=0.1,
        ),
    },
    {"indices": np.zeros((1, 4), np.int32)},
    {"book": np.linspace(0, 1, 3).astype(np.float16), "a": np.zeros(0, np.int64)},
    lost=0.2,
)
CANDIDATE = Candidate(
    ABSENT, "dct", {"rate": 0.25, "block": 8, "refit": True, "kind": "row"}, 1234, 0.1 + 0.2, ENCODED
)
VALUES: dict[str, object] = {
    "pass_name": "dct",
    "settings": {"rate": 0.25},
    "n_bytes": 12,
    "error": 0.1,
    "is_estimate": False,
}
WRONG: list[dict[str, object]] = [
    {"n_bytes": -1},
    {"n_bytes": 1.5},
    {"error": -0.1},
    {"error": []},
    {"settings": {"rate": None}},
    {"settings": []},
    {"pass_name": 3},
    {"more": 1},
]
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


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        (SENSITIVITIES, "x"),
        (SENSITIVITIES, -0.1),
        (SENSITIVITIES, float("nan")),
        (SENSITIVITIES, [0.1]),
        (REACHED, "w"),
        (REACHED, [1]),
        (TRIALS, [0.1, 0.2]),
        (TRIALS, [0.1, 0.2, 1]),
        (TRIALS, [0.1, {}, True]),
        (STATISTICS, [1, 1.5]),
        (CANDIDATES, [[], [["w", "dct", 1]]]),
        *((CANDIDATES, [[{**VALUES, **wrong}], []]) for wrong in WRONG),
    ],
)
def test_what_no_run_has_kept_is_damaged(kind: Kind[Any], values: object) -> None:
    with pytest.raises(DAMAGED):
        kind.unpack(Entry(values, {"moment": np.eye(3, dtype=np.float32)}))


@pytest.mark.parametrize("shape", [(3,), (2, 3), ()])
def test_a_second_moment_is_square(shape: tuple[int, ...]) -> None:
    with pytest.raises(DAMAGED):
        STATISTICS.unpack(Entry([1, 1], {"moment": np.zeros(shape, np.float32)}))
