"""Sizes that are computed for a Reshape: gone where it can take them from its input, else left."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest

from tests.casebook.kit import Draft, value
from tests.graph.running import assert_identical, run
from tests.passes.folding import fold, op_types


def view(places: list[int], rest: list[int], shaped: str = "r", opset: int = 17) -> onnx.ModelProto:
    """Return y = r.view(*[r.size(place) for place in places], *rest) for r = relu(x)."""
    draft = Draft()
    draft.add("Relu", ["x"], "r")
    draft.add("Shape", [shaped], "s")
    parts = []
    for place in places:
        draft.add("Gather", ["s", draft.tensor(f"i{place}", np.int64(place))], f"g{place}", axis=0)
        axes: dict[str, Any] = {"axes": [0]} if opset < 13 else {}
        inputs = [f"g{place}"] if axes else [f"g{place}", draft.tensor(f"a{place}", np.array([0]))]
        draft.add("Unsqueeze", inputs, f"u{place}", **axes)
        parts.append(f"u{place}")
    parts.append(draft.tensor("rest", np.array(rest, np.int64)))
    draft.add("Concat", parts, "sizes", axis=0)
    draft.add("Reshape", ["r", "sizes"], "y")
    return draft.model([value("x", ["a", "b", 4, 6])], [value("y", None)], opset=opset)


@pytest.mark.parametrize(
    ("places", "rest", "opset"),
    [([0], [-1], 17), ([0], [-1], 11), ([0, 1], [24], 17), ([0], [3, -1], 13)],
)
def test_sizes_at_their_own_place_are_copied(places: list[int], rest: list[int], opset: int) -> None:
    proto = view(places, rest, opset=opset)
    folded, rewrites, _ = fold(proto)
    assert op_types(folded) == ["Relu", "Reshape"]
    assert any("takes sizes" in rewrite.description for rewrite in rewrites)
    for n in (1, 5):
        feeds = {"x": np.random.default_rng(n).standard_normal((n, 3, 4, 6)).astype(np.float32)}
        assert_identical(run(folded, feeds), run(proto, feeds))
    assert fold(folded)[1] == []


@pytest.mark.parametrize(
    ("places", "shaped"), [([1], "r"), ([1, 0], "r"), ([0], "x"), ([0, 2], "r")], ids=str
)
def test_other_sizes_stay_computed(places: list[int], shaped: str) -> None:
    folded, _, _ = fold(view(places, [-1], shaped))
    assert "Concat" in op_types(folded)
