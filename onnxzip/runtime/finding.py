"""What an onnxruntime exception says to a user."""

from __future__ import annotations

import re

_MAX_READ, _MAX_SHOWN = 4000, 400
"""Characters: an error is one line, and some of onnxruntime's texts list all operators."""

_PLACE = r"(?:[A-Za-z]:)?[\w./\\+-]*\.(?:h|hpp|cc|cpp|cu|cuh):\d+ "
_LAMBDA = r"(?:::<lambda\([^()]*\)>)?"
_FUNCTION = (
    r"(?:[^()]*\((?:[^()]|\([^()]*\))*\)(?: const)?|[\w:~]+)" + _LAMBDA + r"(?: \[with [^\]]*\])? "
)
_CONDITION = r"(?:\S.{0,200}? was false\. (?=\S))?"
_WORDINGS = (
    (r"\[ONNXRuntimeError\] : \d+ : \w+ : ", ""),
    (
        r"Non-zero status code returned while running (\w+) node\. Name:'(.*?)' Status Message: ",
        r"\1 '\2': ",
    ),
    (_PLACE + _FUNCTION + _CONDITION, ""),
    (r"\S+\.(?:h|cc):\d+: [\w:~]+: Assertion `[^`]*` failed: ", ""),  # of onnx's version converter
)
"""What no user reads, and what takes its place: codes; places in the sources of onnxruntime, with the
function, and the condition that failed there."""


def finding_of(error: BaseException) -> str:
    """Return what an onnxruntime exception says, on one line, without what only its authors read."""
    if isinstance(error, UnicodeDecodeError):  # of an output that pybind11 makes Python's strings of
        return "it answers with strings that are no UTF-8, which onnxruntime does not give to Python"
    text, _, _ = str(error).partition("Stacktrace:")
    text = " ".join(text[:_MAX_READ].split())
    for pattern, plain in _WORDINGS:
        text = re.sub(pattern, plain, text)
    return text[:_MAX_SHOWN] or type(error).__name__
