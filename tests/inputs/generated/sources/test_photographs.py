"""Photographs: what is fed has the right form, differs from sample to sample, and may be given away."""

import re
from importlib import resources

import numpy as np
import pytest

from onnxzip.inputs.generated import sources
from onnxzip.inputs.generated.sources.photographs import _drawn, photographs

FOLDER = resources.files(sources) / "pictures"
FILES = sorted(entry.name for entry in FOLDER.iterdir() if entry.name.endswith(".jpg"))
N_PICTURES = len(FILES)
MAX_BYTES = 380_000
FREE = re.compile(r"^(public domain|CC0)")


def crops(n: int, seed: int = 0, side: int = 32, n_channels: int = 3) -> np.ndarray:
    return photographs(n, n_channels, side, side, np.random.default_rng(seed))


@pytest.mark.parametrize("n_channels", [1, 3, 4])
@pytest.mark.parametrize(("height", "width"), [(8, 8), (33, 21), (48, 320), (300, 20), (500, 700)])
def test_shape_and_range(n_channels: int, height: int, width: int) -> None:
    pictures = photographs(5, n_channels, height, width, np.random.default_rng(0))
    assert pictures.shape == (5, n_channels, height, width)
    assert pictures.dtype == np.float64
    assert pictures.min() >= 0
    assert pictures.max() <= 1
    assert pictures[:, :3].std() > 0.05


def test_alpha_is_opaque_and_grey_is_luminance() -> None:
    colour, alpha = crops(6), crops(6, n_channels=4)
    np.testing.assert_array_equal(alpha[:, :3], colour)
    assert (alpha[:, 3] == 1).all()
    # The second grey picture is drawn, with random numbers of its own: the first is the same crop.
    grey = crops(1, n_channels=1)
    luminance = np.tensordot(colour[:1], (0.299, 0.587, 0.114), axes=(1, 0))
    assert np.abs(grey[:, 0] - luminance).max() < 1 / 255


def test_every_second_grey_picture_is_strokes_on_an_empty_sheet() -> None:
    """Half of them or more is paper, white or black, which a photograph hardly ever has."""
    grey = crops(2 * N_PICTURES, n_channels=1)[:, 0]
    is_paper = np.maximum((grey == 0).mean(axis=(1, 2)), (grey == 1).mean(axis=(1, 2)))
    shown, drawn = is_paper[::2], is_paper[1::2]
    assert np.median(drawn) > 0.5
    assert np.median(shown) < 0.05
    papers = {int(np.median(sheet)) for sheet in grey[1::2][drawn > 0.5]}
    assert papers == {0, 1}, "dark on bright and bright on dark"


@pytest.mark.parametrize("seed", range(8))
def test_strokes_are_what_is_bright_or_dark(seed: int) -> None:
    """On a ramp they are the bright end of it, on both kinds of paper, and end softly."""
    ramp = np.tile(np.linspace(0, 1, 201), (4, 1))
    drawn = _drawn(ramp, np.random.default_rng(seed))
    strokes = drawn if drawn[0, -1] == 1 else 1 - drawn
    assert (strokes[:, 0] == 0).all()
    assert (strokes[:, -1] > 0.9).all()
    assert (np.diff(strokes, axis=1) >= 0).all()
    assert 0.05 <= (strokes >= 0.5).mean() <= 0.51
    is_soft = (strokes > 0) & (strokes < 1)
    assert 0.04 < is_soft.mean() < 0.11


def test_same_state_same_pictures() -> None:
    np.testing.assert_array_equal(crops(4), crops(4))
    assert np.abs(crops(4) - crops(4, seed=1)).mean() > 0.05
    random = np.random.default_rng(0)
    first, second = (photographs(4, 3, 32, 32, random) for _ in range(2))
    assert np.abs(first - second).mean() > 0.05


def test_each_crop_is_of_another_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    """Until all have been taken; then the same order again, so that every fourth run stays apart."""
    from PIL import Image

    from onnxzip.inputs.generated.sources import photographs as module

    numbered = tuple(Image.new("RGB", (60, 50), (number, 0, 0)) for number in range(N_PICTURES))
    monkeypatch.setattr(module, "_pictures", lambda: numbered)
    shown = np.rint(255 * crops(3 * N_PICTURES)[:, 0, 0, 0]).astype(int)
    assert sorted(shown[:N_PICTURES]) == list(range(N_PICTURES))
    np.testing.assert_array_equal(shown, np.tile(shown[:N_PICTURES], 3))
    for per_run in (1, 2, 4):
        is_held_out = np.arange(len(shown)) // per_run % 4 == 3
        assert not set(shown[is_held_out]) & set(shown[~is_held_out])


def test_crops_of_one_picture_differ() -> None:
    pictures = crops(4 * N_PICTURES, side=24).reshape(4, N_PICTURES, -1)
    for other in range(1, 4):
        assert np.abs(pictures[0] - pictures[other]).mean(axis=1).min() > 0.005


def test_pictures_are_many_kinds() -> None:
    """Dark and bright ones, flat and contrasty ones, grey and coloured ones."""
    pictures = crops(N_PICTURES)
    brightness, contrast = pictures.mean(axis=(1, 2, 3)), pictures.std(axis=(1, 2, 3))
    assert brightness.min() < 0.15
    assert brightness.max() > 0.6
    assert contrast.max() > 4 * contrast.min()
    is_grey = (np.ptp(pictures, axis=1) == 0).all(axis=(1, 2))
    assert 0.1 < is_grey.mean() < 0.4


def test_provenance_and_size() -> None:
    """Every file has a row with an author and a free licence, and no row is without a file."""
    lines = (FOLDER / "PROVENANCE.md").read_text(encoding="utf-8").splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if ".jpg |" in line]
    rows = {row[0]: row[1:] for row in cells}
    assert sorted(rows) == FILES
    assert 30 <= N_PICTURES <= 48
    for source, _part, author, licence in rows.values():
        assert source
        assert author
        assert FREE.search(licence), licence
    assert sum(len((FOLDER / name).read_bytes()) for name in FILES) < MAX_BYTES
