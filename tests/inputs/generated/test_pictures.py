"""Where an input has its pictures, and how they are laid out in it."""

import numpy as np
import pytest

from onnxzip.inputs.generated.pictures import Layout, bytes_of, layout_of, pictures_of
from onnxzip.inputs.generated.scalings import Scaling
from onnxzip.runtime.input_spec import InputSpec

Dim = int | str | None
F32 = np.dtype("float32")
AS_THEY_ARE = Scaling("0..1", lambda pictures: pictures)


def layout(spec: tuple[Dim, ...], shape: tuple[int, ...] | None = None) -> Layout | None:
    resolved = shape or tuple(dim for dim in spec if isinstance(dim, int))
    return layout_of(InputSpec("x", F32, spec), resolved)


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((4, 3, 20, 30), Layout(4, 3, 20, 30, is_last=False)),
        ((4, 1, 20, 30), Layout(4, 1, 20, 30, is_last=False)),
        ((4, 20, 30, 4), Layout(4, 4, 20, 30, is_last=True)),
        ((2, 8, 3, 20, 30), Layout(16, 3, 20, 30, is_last=False)),  # films
        ((2, 8, 20, 30, 3), Layout(16, 3, 20, 30, is_last=True)),
        ((3, 20, 30), Layout(1, 3, 20, 30, is_last=False)),
        ((20, 30, 3), Layout(1, 3, 20, 30, is_last=True)),
    ],
)
def test_where_pictures_are(shape: tuple[int, ...], expected: Layout) -> None:
    assert layout(shape) == expected


@pytest.mark.parametrize(
    "shape",
    [
        (4, 7, 20, 30),  # feature maps
        (4, 3, 3, 3),  # too small for neighbours that are alike
        (1, 20, 30),  # a batch of sequences, or a grey picture: anything
        (3, 8, 12),  # three rows of anything
        (4, 3),
        (3,),
        (),
        (1, 1, 1, 3, 20, 30),
    ],
)
def test_what_has_none(shape: tuple[int, ...]) -> None:
    assert layout(shape) is None


def test_a_single_picture_has_fixed_sizes() -> None:
    """(batch, 20, 3) resolved to (3, 20, 30) may be three sequences."""
    assert layout(("batch", 20, 30), (3, 20, 30)) is None
    assert layout((3, "height", "width"), (3, 64, 64)) is None
    assert layout(("batch", 3, "height", "width"), (4, 3, 64, 64)) is not None


@pytest.mark.parametrize(
    "shape", [(4, 3, 20, 30), (4, 20, 30, 3), (2, 2, 3, 20, 30), (3, 20, 30), (20, 30, 3)]
)
def test_pictures_are_laid_out(shape: tuple[int, ...]) -> None:
    """Every picture comes whole, in order, whatever the axes are."""
    found = layout(shape)
    assert found is not None
    n = 2 * found.n_pictures
    rng = np.random.default_rng(0)
    pictures = rng.random((n, found.n_channels, found.height, found.width))
    runs = found.arrange(pictures, shape)
    assert runs.shape == (2, *shape)
    flat = runs.reshape(n, *shape[-3:])
    for i, picture in enumerate(pictures):
        expected = picture.transpose(1, 2, 0) if found.is_last else picture
        np.testing.assert_array_equal(flat[i], expected)


def test_runs_have_other_pictures_each() -> None:
    found = layout((4, 3, 20, 30))
    assert found is not None
    values = pictures_of(found, AS_THEY_ARE)((4, 3, 20, 30), 3, np.random.default_rng(0))
    rows = values.reshape(12, -1)
    apart = np.abs(rows[:, None] - rows[None]).mean(axis=-1)
    assert apart[~np.eye(12, dtype=bool)].min() > 0.02


def test_both_layouts_show_the_same_pictures() -> None:
    first, last = layout((2, 3, 20, 30)), layout((2, 20, 30, 3))
    assert first is not None
    assert last is not None
    draws = [
        pictures_of(found, AS_THEY_ARE)(shape, 2, np.random.default_rng(5))
        for found, shape in ((first, (2, 3, 20, 30)), (last, (2, 20, 30, 3)))
    ]
    np.testing.assert_array_equal(np.moveaxis(draws[0], 2, -1), draws[1])


@pytest.mark.parametrize("least", [0, -128])
def test_bytes_are_whole_numbers_of_their_type(least: int) -> None:
    found = layout((4, 20, 30, 3))
    assert found is not None
    values = bytes_of(found, least)((4, 20, 30, 3), 4, np.random.default_rng(0))
    assert (values == np.round(values)).all()
    assert least <= values.min() < least + 30
    assert least + 225 < values.max() <= least + 255
