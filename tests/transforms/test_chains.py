"""What chains cost, and which layers have none; tests/graph/changing/test_chaining.py runs them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest

from onnxzip.records.aliases import Scalar
from onnxzip.records.layer import Layer, Layout
from onnxzip.transforms.chains import reason_against, relative_macs

MATRIX = Layer(
    *("w", "Gemm", np.ones((40, 30), np.float32), Layout((), (1,), (0,), ()), {"transB": 0}),
    can_factorise=True,
)
KERNEL = Layer(
    *("w", "Conv", np.ones((16, 8, 3, 5), np.float32), Layout((), (0,), (1,), (2, 3))),
    {"strides": (2, 3), "group": 1},
    can_factorise=True,
)
POSITIONS, BEFORE, BETWEEN = (10, 12), (20, 36), (10, 36)

Costs = list[tuple[tuple[int, ...], tuple[int, ...]]]
CHAINS: dict[str, tuple[Mapping[str, Scalar], Costs]] = {
    "out": ({"rank": 3}, [((3, 8, 3, 5), POSITIONS), ((16, 3), POSITIONS)]),
    "in": ({"rank": 4}, [((4, 8), BEFORE), ((16, 4, 3, 5), POSITIONS)]),
    "spatial": ({"rank": 5}, [((5, 8, 3), BETWEEN), ((16, 5, 5), POSITIONS)]),
    "tucker": (
        {"rank": 4, "rank_in": 3},
        [((3, 8), BEFORE), ((4, 3, 3, 5), POSITIONS), ((16, 4), POSITIONS)],
    ),
}


@pytest.mark.parametrize("method", CHAINS)
def test_macs_count_the_resolution_each_stage_runs_at(method: str) -> None:
    ranks, stages = CHAINS[method]
    found = relative_macs(KERNEL, {"method": method, **ranks}) * np.prod(POSITIONS)
    assert found == sum(np.prod(weight) * np.prod(positions) for weight, positions in stages)


def test_which_nodes_become_no_chain() -> None:
    assert reason_against(MATRIX) == ""
    assert reason_against(KERNEL) == ""
    assert "has to stay" in reason_against(replace(MATRIX, can_factorise=False))
    assert "float16" in reason_against(replace(MATRIX, weight=MATRIX.weight.astype(np.float16)))
    assert "operand" in reason_against(replace(MATRIX, attributes={"transB": 1}))
    assert "group 2" in reason_against(replace(KERNEL, attributes={"group": 2}))
    batched = np.ones((2, 20, 20), np.float32)
    layout = Layout((0,), (2,), (1,), ())
    assert "2 batches" in reason_against(replace(MATRIX, weight=batched, layout=layout))
