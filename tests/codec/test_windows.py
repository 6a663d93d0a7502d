"""Windows: what they take, and that what lies outside comes back."""

from __future__ import annotations

import numpy as np
import onnxruntime as ort
import pytest
from numpy.typing import NDArray

from onnxzip.codec.coding.packed import n_packed_bytes
from onnxzip.codec.emit.packed import emit_packed
from onnxzip.codec.windows import choose_window, parted
from onnxzip.records.payload import WholeNumbers
from tests.codec.coding.model_builder import ModelBuilder, wrap


def heavy_tailed(shape: tuple[int, int], deviation: float, most: int = 127) -> NDArray[np.int32]:
    values = np.random.default_rng(0).laplace(0, deviation / 2**0.5, shape)
    return np.clip(np.rint(values), -most, most).astype(np.int32)


@pytest.mark.parametrize(
    ("shape", "deviation", "window"),
    [
        ((64, 200), 1.5, (1, 7)),
        ((64, 2100), 4.0, (1, 19)),
        ((64, 200), 8.0, (4, 7)),
        ((64, 200), 13.0, (6, 7)),
        ((64, 200), 40.0, (1, None)),
    ],
)
def test_the_smallest_window_is_taken(
    shape: tuple[int, int], deviation: float, window: tuple[int, int | None]
) -> None:
    integers = heavy_tailed(shape, deviation)
    integers[0, :2] = 127, -127
    found = choose_window(integers)
    assert (found.factor, found.largest) == window
    assert (found.n_bytes < n_packed_bytes(integers)) == (window[1] is not None)


def test_wide_integers_leave_their_low_byte() -> None:
    found = choose_window(heavy_tailed((64, 200), 400.0, 32_767))
    assert (found.factor, found.n_bytes < 2 * 64 * 200) == (256, True)


def test_an_empty_array_and_one_without_outliers_have_none() -> None:
    assert choose_window(np.zeros((0, 4), np.int32)).largest is None
    integers = heavy_tailed((4, 100), 2.0, 7)
    inside, outside = parted(integers, choose_window(integers).largest)
    assert outside is None
    np.testing.assert_array_equal(inside, integers)


@pytest.mark.parametrize("dtype", [np.int8, np.int16, np.int32])
def test_graphs_put_in_place_what_lies_outside(dtype: type[np.generic]) -> None:
    """Of each factor, moved and not; one tile and several."""
    arrays = [
        heavy_tailed((64, 200), 1.5),
        heavy_tailed((40, 300), 8.0),
        heavy_tailed((600, 700), 13.0),
        *([heavy_tailed((64, 200), 400.0, 32_767)] if dtype is not np.int8 else []),
    ]
    moves = [(("transpose", (1, 0)),), *([()] * (len(arrays) - 1))]
    builder = ModelBuilder(17)
    items = [WholeNumbers(array, 0, dtype, True) for array in arrays]
    names = emit_packed(items, builder, moves)
    names = [builder.node("Cast", [name], [1], np.int32, to=6) for name in names]
    builder.infos = [info for info in builder.infos if info.name not in names]
    shapes = [array.shape for array in (arrays[0].T, *arrays[1:])]
    model = wrap(builder, names, shapes, range(len(names)))
    options = ort.SessionOptions()
    options.log_severity_level = 4
    session = ort.InferenceSession(model.SerializeToString(), options)
    found = session.run(None, {"xf": np.zeros(1, np.float32), "xi": np.zeros(1, np.int32)})
    for array, wanted in zip(found, (arrays[0].T, *arrays[1:]), strict=True):
        np.testing.assert_array_equal(array, wanted)
