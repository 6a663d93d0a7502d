"""What onnxruntime says when it fails, in words for a user: its codes, C++ places and signatures go."""

from __future__ import annotations

import re

_MAX_CHARACTERS = 400
"""What onnxruntime says is cut here: an error is one line, and some of its texts list all operators."""

_NOISE = (
    (r"\[ONNXRuntimeError\] : \d+ : \w+ : ", ""),
    (
        r"\S*?[\w/]+\.(?:h|hpp|cc|cpp|cu):\d+,? [^()]*?\([^()]*\)(?: const)?:? ?",
        "",
    ),  # file:line function(...)
    (r"\S*?[\w/]+\.(?:h|hpp|cc|cpp|cu):\d+,?:? ?", ""),
    (r"Non-zero status code returned while running (\w+) node\. Name:'([^']*)' ?", r"\1 '\2': "),
    (r"Status Message: ", ""),
    (r"Load model from (?:\S+ )?failed:", ""),
    (r"\b(?:onnxruntime|std|onnx)::(?:\w+::)*", ""),
)
"""Patterns, and what stands in their place: as onnxruntime 1.17 to 1.32 was seen to write them."""


def finding_of(error: BaseException) -> str:
    """Return what an onnxruntime exception says, on one line; its name where it says nothing."""
    text = " ".join(str(error).split())
    for pattern, substitute in _NOISE:
        text = re.sub(pattern, substitute, text)
    return text.strip()[:_MAX_CHARACTERS] or type(error).__name__
