"""Fixed-rate packing: several small integers in one or two bytes, decoded by one table look-up.

A symbol of an alphabet of `base` integers is one digit; `digits` of them make one stored number:
sum_i digit_i * base^(digits - 1 - i), with base^digits <= 256, or <= 65536 where an array is large
enough for a table of so many rows. Rates in bits per integer: base 2: 1, 3: 1.6, 4: 2, 6: 2.67, 9: 3.2,
16: 4, 40: 5.33. Larger integers are stored as they are, in 8, 16 or 32 bits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from onnxzip.records.aliases import Array

Integers: TypeAlias = NDArray[np.signedinteger[Any]]

DIGITS_BY_BASE = {2: 8, 3: 5, 4: 4, 6: 3, 9: 5, 16: 2, 40: 3, 256: 1, 65536: 1, 2**32: 1}
"""Integers that one stored number holds, by alphabet size."""

TWO_BYTES = (9, 40)
"""Alphabets of several digits whose stored numbers take two bytes."""

MIN_OF_TWO_BYTES = 1 << 17
"""Integers from which on an array is packed so: the table of base 40 takes 0.8 MB at load, twice while
it is made, as much as 12 bytes an integer then, and it is the only one however many arrays there are."""

_N_BYTES_PER_LARGE_TABLE = 1400
"""What makes such a table takes in a file, measured: 1,475 bytes for base 40, 1,237 for base 9."""

_STORED_DTYPES = {65536: (np.uint16, np.int16), 2**32: (np.uint32, np.int32)}
"""Unsigned and signed types with so many values; 256 is the default."""


@dataclass(frozen=True, order=True)
class Alphabet:
    """The integers offset ... offset + base - 1.

    Alphabets of one digit are stored as integers of that width, signed where the offset is negative.
    """

    base: int
    offset: int

    @property
    def digits(self) -> int:
        """Integers held by one stored number."""
        return DIGITS_BY_BASE[self.base]

    @property
    def dtype(self) -> np.dtype[np.generic]:
        """Type of the stored numbers."""
        if self.base in TWO_BYTES:
            return np.dtype(np.uint16)
        if self.digits > 1 or (self.base == 256 and self.offset == 0):
            return np.dtype(np.uint8)
        unsigned, signed = _STORED_DTYPES.get(self.base, (np.uint8, np.int8))
        return np.dtype(signed if self.offset < 0 else unsigned)

    def table(self) -> NDArray[np.int8]:
        """Return what each stored number decodes to, for several digits: (base ** digits, digits)."""
        codes = np.arange(self.base**self.digits)[:, None]
        places = self.base ** np.arange(self.digits - 1, -1, -1)
        symbols = codes // places % self.base + self.offset
        return symbols.astype(np.int8)


def choose_alphabet(integers: Integers) -> Alphabet:
    """Return the smallest alphabet that holds all the integers.

    It starts at 0, or lies around 0; few different alphabets mean few tables in the file.
    """
    low, high = (int(integers.min()), int(integers.max())) if integers.size else (0, 0)
    for base, digits in DIGITS_BY_BASE.items():
        if base in TWO_BYTES and integers.size < MIN_OF_TWO_BYTES:
            continue
        offsets = {0, -(base // 2)} if digits == 1 else {0, -(base // 2), -((base - 1) // 2)}
        for offset in sorted(offsets, reverse=True):
            if offset <= low and high < offset + base:
                return Alphabet(base, offset)
    raise ValueError(f"integers from {low} to {high} do not fit 32 bits")


def pack(arrays: Sequence[Integers], alphabet: Alphabet) -> Array:
    """Pack arrays one behind the other; each is padded with its offset to whole stored numbers.

    Returns:
        (n_stored,) of `alphabet.dtype`.
    """
    return np.concatenate([_pack_one(array.ravel(), alphabet) for array in arrays])


def _pack_one(flat: Integers, alphabet: Alphabet) -> Array:
    if alphabet.digits == 1:
        return flat.astype(alphabet.dtype)
    padded = np.zeros(n_padded(flat.size, alphabet), np.int16)
    np.subtract(flat, alphabet.offset, out=padded[: flat.size], casting="unsafe", dtype=np.int32)
    digits = padded.reshape(-1, alphabet.digits)
    codes = digits[:, 0].astype(np.int32)
    for i in range(1, alphabet.digits):
        codes *= alphabet.base
        codes += digits[:, i]
    return codes.astype(alphabet.dtype)


def n_padded(size: int, alphabet: Alphabet) -> int:
    """Return how many integers `size` of them become when padded to whole stored numbers."""
    return -(-size // alphabet.digits) * alphabet.digits


def n_table_bytes(alphabet: Alphabet) -> int:
    """Return what a file takes for the table of an alphabet; 0 where there is none."""
    if alphabet.base in TWO_BYTES:
        return _N_BYTES_PER_LARGE_TABLE
    return alphabet.table().nbytes if alphabet.digits > 1 else 0


def n_packed_bytes(integers: Integers) -> int:
    """Return the bytes of the packed integers, without tables."""
    alphabet = choose_alphabet(integers)
    return n_padded(integers.size, alphabet) // alphabet.digits * alphabet.dtype.itemsize
