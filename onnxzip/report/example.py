"""What a model is fed and answers, of a few samples, as much of it as people look at."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from onnxzip.records.aliases import Scalar

Look: TypeAlias = Literal["picture", "scores", "curve", "values"]
"""How an array is looked at: as an image, as the scores of classes, as a line, as a list."""


@dataclass(frozen=True)
class Shown:
    """One input or output of a sample.

    Of an input there is only `original`; of an output both, on one scale.

    Attributes:
        name: of the input or output.
        dtype: of the array.
        shape: of the sample's part of it.
        look: how it is shown.
        note: what of it is shown, "every 5th of 1,000 values".
        indices: which values are shown, in the flattened array; none of a picture.
        original: these values of the original model, to four digits.
        compressed: those of the compressed model.
        original_png: the picture as a PNG file, in base64.
        compressed_png: likewise.
        size: width and height of the pictures.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    look: Look
    note: str = ""
    indices: tuple[int, ...] = ()
    original: tuple[Scalar, ...] = ()
    compressed: tuple[Scalar, ...] = ()
    original_png: str = ""
    compressed_png: str = ""
    size: tuple[int, int] = (0, 0)


@dataclass(frozen=True)
class Example:
    """One sample: what is fed, and what both models answer.

    Attributes:
        sample: its place among the samples of the verdict, from 0.
        rank: what it is an example of, "the median sample".
        loss: of this sample alone, in the metric's unit; None where that is not known.
        inputs: what is fed.
        outputs: what both models answer.
        n_left_out: inputs and outputs that are not shown.
    """

    sample: int
    rank: str
    loss: float | None
    inputs: tuple[Shown, ...]
    outputs: tuple[Shown, ...]
    n_left_out: int = 0
