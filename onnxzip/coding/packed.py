"""Fixed-rate packing: several small integers in one byte, decoded by one table look-up.

A symbol of an alphabet of `base` integers is one digit; `digits` of them make the number stored in a
byte: byte = sum_i digit_i * base^(digits - 1 - i), with base^digits <= 256. Rates in bits per integer:
base 2: 1, 3: 1.6, 4: 2, 6: 2.67, 16: 4, 256: 8. What no alphabet holds is stored as int32.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

DIGITS_BY_BASE = {2: 8, 3: 5, 4: 4, 6: 3, 16: 2, 256: 1}
_WIDE = 0


@dataclass(frozen=True, order=True)
class Alphabet:
    """The integers offset ... offset + base - 1; base 0 means any int32, stored as it is."""

    base: int
    offset: int

    @property
    def digits(self) -> int:
        """Integers held by one byte (by one int32 for base 0)."""
        return DIGITS_BY_BASE.get(self.base, 1)

    def table(self) -> NDArray[np.int8]:
        """Return what each byte decodes to, for several digits: (base ** digits, digits)."""
        codes = np.arange(self.base**self.digits)[:, None]
        places = self.base ** np.arange(self.digits - 1, -1, -1)
        symbols = codes // places % self.base + self.offset
        return symbols.astype(np.int8)


def choose_alphabet(integers: NDArray[np.int32]) -> Alphabet:
    """Return the smallest alphabet that holds all the integers.

    Signed integers get a symmetric one (offset -base // 2, one more to the right for odd bases'
    sake), unsigned ones start at 0: few alphabets mean few tables in the file.
    """
    low, high = (int(integers.min()), int(integers.max())) if integers.size else (0, 0)
    for base in DIGITS_BY_BASE:
        for offset in (0, -(base // 2), *(() if base == 256 else (-((base - 1) // 2),))):
            if offset <= low and high < offset + base:
                return Alphabet(base, offset)
    return Alphabet(_WIDE, 0)


def pack(
    arrays: Sequence[NDArray[np.int32]], alphabet: Alphabet
) -> NDArray[np.uint8] | NDArray[np.int32]:
    """Pack arrays one behind the other; each is padded with its offset to whole bytes."""
    if alphabet.base == _WIDE:
        return np.concatenate([array.ravel() for array in arrays])
    packed = []
    for array in arrays:
        symbols = array.ravel() - alphabet.offset
        padded = np.zeros(-(-symbols.size // alphabet.digits) * alphabet.digits, np.int32)
        padded[: symbols.size] = symbols
        places = alphabet.base ** np.arange(alphabet.digits - 1, -1, -1, dtype=np.int32)
        packed.append((padded.reshape(-1, alphabet.digits) * places).sum(1).astype(np.uint8))
    return np.concatenate(packed)


def unpack(
    payload: NDArray[np.uint8] | NDArray[np.int32],
    shapes: Sequence[tuple[int, ...]],
    alphabet: Alphabet,
) -> list[NDArray[np.int32]]:
    """Return the arrays of the given shapes; the inverse of `pack`."""
    if alphabet.base == _WIDE:
        flat = payload.astype(np.int32)
    else:
        if alphabet.digits == 1:
            flat = payload.astype(np.int32) + alphabet.offset
        else:
            flat = alphabet.table()[payload].astype(np.int32).ravel()
    arrays, start = [], 0
    for shape in shapes:
        size = int(np.prod(shape, dtype=np.int64))
        arrays.append(flat[start : start + size].reshape(shape))
        start += n_padded(size, alphabet)
    return arrays


def n_padded(size: int, alphabet: Alphabet) -> int:
    """Return how many integers `size` of them become when padded to whole bytes."""
    return -(-size // alphabet.digits) * alphabet.digits


def n_packed_bytes(integers: NDArray[np.int32]) -> int:
    """Return the bytes of the packed integers, without tables."""
    alphabet = choose_alphabet(integers)
    return n_padded(integers.size, alphabet) // alphabet.digits * (1 if alphabet.base else 4)
