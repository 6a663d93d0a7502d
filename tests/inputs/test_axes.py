"""Axes of inputs: which shapes are images."""

import pytest

from onnxzip.inputs.axes import channel_axis


@pytest.mark.parametrize(
    ("shape", "axis"),
    [
        ((8, 3, 32, 32), 1),
        ((8, 1, 28, 28), 1),
        ((2, 64, 48, 3), 3),
        ((2, 4, 64, 64), 1),
        ((2, 64, 16, 16), None),
        ((2, 3, 1, 3), None),
        ((8, 3, 32), None),
        ((8, 1), None),
        ((), None),
    ],
)
def test_what_is_an_image(shape: tuple[int, ...], axis: int | None) -> None:
    assert channel_axis(shape) == axis
