"""Which nodes and values of a graph compute in int8."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onnxzip.graph import GraphEditor, read_model
from onnxzip.measure.moments.value_ranges import ValueRange
from onnxzip.propose.quantising.grid import grid_of
from onnxzip.propose.quantising.region import Region, find_region, multiplications_of
from tests.textmodels import model_from_text

RESIDUAL = """
<ir_version: 8, opset_import: ["" : 17]>
agraph (float[N, 8, 9, 9] x) => (float[N, 10] y)
<float[8, 8, 3, 3] a, float[8, 8, 3, 3] b, float[8, 8, 1, 1] c, float[8, 10] d>
{
    h = Conv<pads = [1, 1, 1, 1]>(x, a)
    r = Relu(h)
    s = Conv<pads = [1, 1, 1, 1]>(r, b)
    t = Add(s, r)
    u = Relu(t)
    v = MaxPool<kernel_shape = [2, 2]>(u)
    w = Conv(v, c)
    p = GlobalAveragePool(w)
    q = Flatten(p)
    y = Gemm(q, d)
}
"""


def region_of(text: str) -> Region:
    editor = GraphEditor(read_model(model_from_text(text)))
    return find_region(editor, multiplications_of(editor))


def test_a_residual_network_is_int8_from_end_to_end() -> None:
    """Relu is absorbed, a pooling moves numbers on their grid, the last Gemm answers in float32."""
    region = region_of(RESIDUAL)
    assert [m.node.op_type for m in region.multiplications] == ["Conv", "Conv", "Conv", "Gemm"]
    assert [carrier.op_type for carrier in region.carriers] == [
        "Add",
        "MaxPool",
        "GlobalAveragePool",
        "Flatten",
    ]
    assert dict(region.rounded) == {
        **{name: name for name in ("x", "r", "s", "u", "w", "p")},
        "v": "u",
        "q": "p",
    }
    assert set(region.made) == {"r", "s", "u", "v", "w", "p", "q"}


@pytest.mark.parametrize(
    ("change", "kept"),
    [
        (("r = Relu(h)", "r = Sigmoid(h)"), {"x", "h", "r", "s", "u", "v", "w", "p", "q"}),
        (("t = Add(s, r)", "t = Sub(s, r)"), {"x", "r", "s", "v", "w", "p", "q"}),
    ],
    ids=["activation", "no carrier"],
)
def test_what_has_no_int8_stays_in_float(change: tuple[str, str], kept: set[str]) -> None:
    """Values go to float32 in front of it, and are rounded again behind it."""
    assert set(region_of(RESIDUAL.replace(*change)).rounded) == kept


def test_matmuls_round_what_nobody_else_rounds_at_runs() -> None:
    text = """
    <ir_version: 8, opset_import: ["" : 17]>
    agraph (float[N, 4, 16] x) => (float[N, 4, 16] y) <float[16, 16] a, float[16, 16] b>
    {
        h = MatMul(x, a)
        r = Relu(h)
        y = MatMul(r, b)
    }
    """
    region = region_of(text)
    assert [m.is_dynamic for m in region.multiplications] == [True, True]
    assert not region.rounded


@pytest.mark.parametrize(
    "line",
    [
        "y = Gemm<alpha = 0.5>(x, a)",
        "y = Gemm<transA = 1>(x, a)",
        "h = Gemm(x, a)\n y = MatMul(a, h)",
        "y = Conv(p, k)",
    ],
)
def test_what_cannot_multiply_in_int8(line: str) -> None:
    """Factors, a weight that somebody else reads, a Conv that makes a graph output."""
    text = f"""
    <ir_version: 8, opset_import: ["" : 17]>
    agraph (float[16, 16] x, float[1, 4, 8, 8] p) => (float y) <float[16, 16] a, float[4, 4, 3, 3] k>
    {{
        {line}
    }}
    """
    assert not multiplications_of(GraphEditor(read_model(model_from_text(text))))


NUMBERS = st.floats(-1e6, 1e6, width=32)


@given(values=st.lists(NUMBERS, min_size=1, max_size=40), cuts=st.booleans())
def test_grids_have_zero_and_round_to_the_nearest(values: list[float], cuts: bool) -> None:
    drawn = np.array(values, np.float32)
    grid = grid_of(ValueRange(float(drawn.min()), float(drawn.max()), drawn), cuts=cuts)
    assert 0 <= grid.zero_point <= 255
    assert grid.rounded(np.zeros(1, np.float32)) == 0
    error = np.abs(grid.rounded(drawn) - drawn).astype(np.float64)
    if not cuts:
        assert error.max() <= grid.scale * (0.5 + 1e-3) + 1e-30
    whole = grid_of(ValueRange(float(drawn.min()), float(drawn.max()), drawn), cuts=False)
    assert (
        np.square(error).sum()
        <= np.square(whole.rounded(drawn) - drawn, dtype=np.float64).sum() * 1.0001
    )


def test_a_rare_large_number_is_cut_off_where_that_loses_less() -> None:
    drawn = np.append(np.random.default_rng(0).normal(size=200_000), 12).astype(np.float32)
    found = ValueRange(float(drawn.min()), float(drawn.max()), drawn)
    assert grid_of(found, cuts=True).scale < 0.9 * grid_of(found, cuts=False).scale
