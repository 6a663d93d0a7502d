"""What a model is fed and answers, of a few samples, as much of it as people look at."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import Literal, TypeAlias

from onnxzip.records.aliases import Scalar
from onnxzip.records.plain.bounds import check_least

Look: TypeAlias = Literal["picture", "scores", "curve", "values"]
"""How an array is looked at: as an image, as the scores of classes, as a line, as a list."""

_PNG = b"\x89PNG\r\n\x1a\n"
"""What every PNG file begins with (w3.org/TR/png, 5.2)."""


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

    def check_figures(self) -> None:
        """Refuse values that are not beside each other, and what cannot be looked at as is said."""
        check_least(self, 0, "shape", "indices", "size")
        n_shown = len(self.indices)
        if self.look == "picture":
            _check_picture(self.original_png)
            _check_picture(self.compressed_png)
        elif len(self.original) != n_shown or len(self.compressed) not in (0, n_shown):
            raise ValueError(
                f"values of '{self.name}': {n_shown} indices, {len(self.original)} of the original, "
                f"{len(self.compressed)} of the compressed model"
            )
        elif self.look == "scores" and not n_shown:
            raise ValueError(f"scores of '{self.name}': there are none")


def _check_picture(text: str) -> None:
    """Refuse what is no PNG file in base64; "" is none at all.

    Raises:
        ValueError: it is not.
    """
    content = base64.b64decode(text, validate=True)  # its error is a ValueError
    if content and not content.startswith(_PNG):
        raise ValueError("a picture is no PNG file")


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

    def check_figures(self) -> None:
        """Refuse counts that cannot be."""
        check_least(self, 0, "sample", "n_left_out")
