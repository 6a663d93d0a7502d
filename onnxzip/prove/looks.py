"""Arrays of one sample -> what people look at: pictures, scores of classes, lines, lists of values.

How an array is looked at is a guess by its shape, type and name, the same for both models.
"""

from __future__ import annotations

import base64
import io
import re
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onnxzip.records.aliases import Array, Scalar
from onnxzip.report.example import Look, Shown

_LEAST_SIDE = 6
"""Pixels: of less nobody sees what it is; the smallest images that models are made for have 8."""

_MOST_SIDE = 96
"""Pixels of a picture as it is kept: 27 kB at most, in colour."""

_N_SCORES = 5
"""Classes that are shown of each model: the top 5, as image classifiers are judged by."""

_MOST_BARS = 12
"""Numbers that are all shown as bars."""

_N_ON_LINE = 200
"""Points of a line: more than that are narrower than a pixel of a small plot."""

_N_LISTED = 16
"""Values of what is no line: ids, truth values, texts."""

_MOST_TEXT = 40
"""Characters of a text."""

_SCORES_NAME = re.compile(r"logit|prob|class|score|label|softmax", re.IGNORECASE)
_CHANNELS = (1, 3, 4)


def look_at(name: str, original: Array, compressed: Array | None = None) -> Shown:
    """Return what is shown of an array, and beside it of the compressed model's.

    Args:
        name: of the input or output.
        original: of one sample, any shape and type.
        compressed: of the same shape; None for an input.
    """
    what, note = _picture_of(original)
    shape = tuple(original.shape)
    if what is not None:
        other = None if compressed is None else _picture_of(compressed)[0]
        return _pictures(name, original.dtype.name, shape, what, other, note)
    look = _look(name, original)
    indices, note = _chosen(look, original, compressed)
    first, second = (
        () if array is None else tuple(_plain(x) for x in array.reshape(-1)[indices])
        for array in (original, compressed)
    )
    dtype = "string" if original.dtype.kind in "OSU" else original.dtype.name
    return Shown(name, dtype, shape, look, note, tuple(map(int, indices)), first, second)


def _look(name: str, array: Array) -> Look:
    """Return how an array is looked at that is no picture."""
    if not _is_float(array) or array.size == 1:
        return "values"
    if array.size <= _MOST_BARS or (array.size == max(array.shape) and _is_scored(name, array)):
        return "scores"
    return "curve"


def _is_scored(name: str, array: Array) -> bool:
    """Whether each number belongs to a class: it is called so, or they are shares of one."""
    numbers = array.astype(np.float64)
    is_share = bool((numbers >= 0).all()) and abs(float(numbers.sum()) - 1) < 0.01
    return is_share or bool(_SCORES_NAME.search(name))


def _chosen(look: Look, original: Array, compressed: Array | None) -> tuple[NDArray[np.int64], str]:
    """Return which values are shown, as indices into the flattened array, and what they are in words."""
    n = original.size
    if look == "scores" and n > _MOST_BARS:
        arrays = [original] if compressed is None else [original, compressed]
        tops = [np.argsort(-a.reshape(-1).astype(np.float64), kind="stable")[:_N_SCORES] for a in arrays]
        chosen = np.array(list(dict.fromkeys(np.concatenate(tops).tolist())), np.int64)
        return chosen, f"the top {_N_SCORES} of {n:,}"
    most = _N_ON_LINE if look == "curve" else n if look == "scores" else _N_LISTED
    if n <= most:
        return np.arange(n), ""
    if look == "values":
        return np.arange(most), f"the first {most} of {n:,} values"
    step = -(-n // most)
    return np.arange(0, n, step), f"1 in {step:,} of {n:,} values"


def _plain(value: Any) -> Scalar:
    """Return a value for the report: floats to four digits, texts cut."""
    if isinstance(value, bool | np.bool_):
        return bool(value)
    if isinstance(value, np.integer | int):
        return int(value)
    if isinstance(value, str | bytes):
        text = value if isinstance(value, str) else value.decode(errors="replace")
        return text[:_MOST_TEXT]
    return float(f"{float(value):.4g}")


def _picture_of(array: Array) -> tuple[NDArray[np.float64] | None, str]:
    """Return (height, width) or (height, width, 3) numbers of what may be a picture, and a note."""
    if array.dtype.kind not in "fu" and not _is_float(array):
        return None, ""
    numbers = array.astype(np.float64)
    if numbers.ndim == 2 and min(numbers.shape) >= _LEAST_SIDE:
        return numbers, ""
    if numbers.ndim != 3:
        return None, ""
    if numbers.shape[0] not in _CHANNELS and numbers.shape[2] in _CHANNELS:
        numbers = numbers.transpose(2, 0, 1)
    n_channels, *sides = numbers.shape
    if min(sides) < _LEAST_SIDE:
        return None, ""
    if n_channels >= 3 and n_channels in _CHANNELS:
        return numbers[:3].transpose(1, 2, 0), ""
    return numbers[0], "" if n_channels == 1 else f"channel 0 of {n_channels:,}"


def _pictures(
    name: str,
    dtype: str,
    shape: tuple[int, ...],
    original: NDArray[np.float64],
    compressed: NDArray[np.float64] | None,
    note: str,
) -> Shown:
    """Return both pictures in the original's range of brightness."""
    finite = original[np.isfinite(original)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)
    parts = [note] if note else []
    parts.append(f"black is {low:.3g}, white {high:.3g}")
    height, width = original.shape[:2]
    size = (min(width, _MOST_SIDE), min(height, _MOST_SIDE))
    pngs = ["" if p is None else _png(p, low, high, size) for p in (original, compressed)]
    return Shown(
        name,
        dtype,
        shape,
        "picture",
        "; ".join(parts),
        original_png=pngs[0],
        compressed_png=pngs[1],
        size=size,
    )


def _png(numbers: NDArray[np.float64], low: float, high: float, size: tuple[int, int]) -> str:
    """Return a PNG file in base64."""
    from PIL import Image

    span = high - low or 1.0
    levels = np.nan_to_num((numbers - low) / span, nan=0.0, posinf=1.0, neginf=0.0)
    image = Image.fromarray(np.rint(255 * levels.clip(0, 1)).astype(np.uint8))
    if image.size != size:
        image = image.resize(size, Image.Resampling.BOX)
    data = io.BytesIO()
    image.save(data, "PNG", optimize=True)
    return base64.b64encode(data.getvalue()).decode("ascii")


def _is_float(array: Array) -> bool:
    """Whether the numbers are floats, those of ml_dtypes too."""
    return array.dtype.kind == "f" or "float" in array.dtype.name
