"""What a user may ask for, checked in one place, and what comes back."""

from onnxzip.options.call import described_call
from onnxzip.options.readers import read_path
from onnxzip.options.record import (
    USED_BY_VERIFY,
    Options,
    Result,
    UserFunction,
    check_for_verify,
    for_verify,
    name_of,
)
from onnxzip.options.toml_text import to_toml

__all__ = [
    "USED_BY_VERIFY",
    "Options",
    "Result",
    "UserFunction",
    "check_for_verify",
    "described_call",
    "for_verify",
    "name_of",
    "read_path",
    "to_toml",
]
