"""Text of others, as it is shown."""

from __future__ import annotations

import pytest

from onnxzip.errors import ModelError
from onnxzip.records.printable import printable


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("conv1.weight", "conv1.weight"),
        ("Gewicht ß 重み 🎈", "Gewicht ß 重み 🎈"),
        ("W\x1b[31m\x1b]0;title\x07", r"W\x1b[31m\x1b]0;title\x07"),
        ("a\nb\tc\r", r"a\nb\tc\r"),
        ("\u202egnp.exe", r"\u202egnp.exe"),
        ("\ud800", r"\ud800"),
        ("", ""),
    ],
)
def test_what_moves_a_cursor_is_shown_as_an_escape(text: str, shown: str) -> None:
    assert printable(text) == shown
    assert printable(shown) == shown


def test_messages_are_printable() -> None:
    assert str(ModelError("m.onnx: 'W\x1b[31m' is `keep`\x07")) == r"m.onnx: 'W\x1b[31m' is keep\x07"
