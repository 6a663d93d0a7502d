"""Packing: every alphabet gives back what was put in, in the bytes it says; and so do split integers."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onnxzip.codec.coding.packed import (
    DIGITS_BY_BASE,
    MIN_OF_TWO_BYTES,
    TWO_BYTES,
    Alphabet,
    choose_alphabet,
    n_packed_bytes,
    n_padded,
    pack,
)
from onnxzip.codec.coding.split import choose_shift, packed_factor, split
from tests.codec.coding.decoder import join, unpack

DTYPES = (np.int8, np.int16, np.int32)
ALPHABETS = [
    Alphabet(base, offset)
    for base, digits in DIGITS_BY_BASE.items()
    for offset in ({0, -(base // 2)} if digits == 1 else {0, -(base // 2), -((base - 1) // 2)})
]


def random_integers(alphabet: Alphabet, shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    """Return integers that fill an alphabet, both ends among them (as far as int32 reaches)."""
    low = alphabet.offset
    high = min(low + alphabet.base - 1, 2**31 - 1)
    array = np.random.default_rng(seed).integers(low, high, shape, np.int64, endpoint=True)
    if array.size > 1:
        array.flat[0], array.flat[-1] = low, high
    return array.astype(np.int32)


@pytest.mark.parametrize("alphabet", ALPHABETS, ids=str)
def test_round_trip_of_every_alphabet(alphabet: Alphabet) -> None:
    """Arrays of all sizes around the number of digits survive, one behind the other."""
    shapes = [(1, n) for n in range(1, 2 * alphabet.digits + 2)] + [(0, 3), (7, 11), (1, 1)]
    arrays = [random_integers(alphabet, shape, i) for i, shape in enumerate(shapes)]
    payload = pack(arrays, alphabet)
    assert payload.dtype == alphabet.dtype
    assert payload.size == sum(n_padded(a.size, alphabet) for a in arrays) // alphabet.digits
    for array, restored in zip(arrays, unpack(payload, shapes, alphabet), strict=True):
        np.testing.assert_array_equal(restored, array)


@pytest.mark.parametrize("alphabet", [a for a in ALPHABETS if a.digits > 1], ids=str)
def test_table_lists_what_each_number_means(alphabet: Alphabet) -> None:
    """Rows count upwards in the alphabet's base, most significant digit first."""
    table = alphabet.table()
    assert table.shape == (alphabet.base**alphabet.digits, alphabet.digits)
    assert len(table) <= (65536 if alphabet.base in TWO_BYTES else 256)
    assert table[0].tolist() == [alphabet.offset] * alphabet.digits
    assert table[-1].tolist() == [alphabet.offset + alphabet.base - 1] * alphabet.digits
    assert [tuple(row) for row in table] == sorted({tuple(row) for row in table})


@given(
    st.lists(st.integers(-(2**31), 2**31 - 1), max_size=40),
    st.sampled_from([0, 4, 8, 24, 28, 29, 30, 31]),
)
@settings(derandomize=True, deadline=None, max_examples=300)
def test_chosen_alphabet_is_the_smallest(numbers: list[int], shift: int) -> None:
    """It holds the integers, no smaller one does, and the byte count is right."""
    array = (np.array(numbers, np.int64) >> shift).astype(np.int32).reshape(1, -1)
    alphabet = choose_alphabet(array)
    assert alphabet in ALPHABETS
    low, high = (int(array.min()), int(array.max())) if array.size else (0, 0)
    assert alphabet.offset <= low <= high < alphabet.offset + alphabet.base
    smaller = [a for a in ALPHABETS if a.base < alphabet.base and a.base not in TWO_BYTES]
    assert not any(a.offset <= low and high < a.offset + a.base for a in smaller)
    payload = pack([array], alphabet)
    assert payload.nbytes == n_packed_bytes(array)
    np.testing.assert_array_equal(unpack(payload, [array.shape], alphabet)[0], array)


@pytest.mark.parametrize("dtype", DTYPES)
def test_extremes_of_narrow_integers(dtype: type[np.signedinteger]) -> None:
    """The ends of int8, int16 and int32 do not wrap around when offsets are subtracted."""
    limits = np.iinfo(dtype)
    for numbers in ([limits.min, limits.max], [limits.max], [limits.min], [0, limits.max], [-1, 0, 1]):
        array = np.array([numbers], dtype)
        alphabet = choose_alphabet(array)
        (restored,) = unpack(pack([array], alphabet), [array.shape], alphabet)
        assert restored.tolist() == array.tolist()


@pytest.mark.parametrize(
    ("low", "high", "bits"),
    [(0, 1, 1), (-1, 1, 1.6), (-2, 1, 2), (-2, 2, 2.667), (-4, 4, 3.2), (-7, 8, 4), (-19, 20, 5.333)],
)
def test_bits_per_integer(low: int, high: int, bits: float) -> None:
    """The rates in the module's text are those that come out, of arrays that are large enough."""
    array = np.resize(np.arange(low, high + 1, dtype=np.int8), (1, MIN_OF_TWO_BYTES))
    assert n_packed_bytes(array) * 8 / array.size == pytest.approx(bits, abs=0.01)


def test_more_range_never_takes_fewer_bytes() -> None:
    """Wider integers cost more, monotonously, up to four bytes each."""
    widths = [1, 2, 5, 15, 100, 255, 1000, 65535, 10**6, 2**31 - 1]
    sizes = [n_packed_bytes(np.linspace(0, w, 240).astype(np.int32)[None]) for w in widths]
    assert all(a <= b for a, b in pairwise(sizes))
    assert sizes[-1] == 4 * 240


def test_integers_beyond_32_bits_are_refused() -> None:
    """What no alphabet holds is an error, never a wrong number."""
    with pytest.raises(ValueError, match="do not fit 32 bits"):
        choose_alphabet(np.array([[0, 2**33]], np.int64))


@pytest.mark.parametrize("shift", [1, 2, 3, 4, 8])
def test_split_integers_come_back(shift: int) -> None:
    """The low parts fill -2^(k-1) ... 2^(k-1) - 1, and the high parts round to the nearest."""
    integers = np.array([[*range(-140, 141), 2**30, -(2**30), 2**30 + 1]], np.int32)
    high, low = split(integers, 1 << shift)
    assert (high.dtype, low.dtype) == (np.int32, np.int8)
    np.testing.assert_array_equal(join(high, low, shift), integers)
    assert (low.min(), low.max()) == (-(1 << (shift - 1)), (1 << (shift - 1)) - 1)
    np.testing.assert_array_equal(high, np.floor(integers / 2**shift + 0.5))


@pytest.mark.parametrize(
    ("size", "shifts"), [(65_536, [0, 1, 1, 2, 2, 4, 4, 8]), (65_534, [0, 0, 0, 0, 0, 4, 4, 8])]
)
def test_wide_integers_are_split(size: int, shifts: list[int]) -> None:
    """From a deviation of 4 on a bit is split off, from 8 two, from 32 four, from 512 eight.

    Of a short array only from 32 on; there the median magnitude tells, two thirds of the deviation.
    """
    magnitudes = (3, 4, 7, 8, 31, 32, 200, 512) if size >= 1 << 16 else (3, 4, 7, 8, 21, 22, 200, 346)
    signs = np.repeat(np.array([[1], [-1]], np.int32), size // 2, axis=1)
    assert [choose_shift(signs * magnitude) for magnitude in magnitudes] == shifts


def test_a_few_large_integers_make_no_wide_array() -> None:
    signs = np.repeat(np.array([[1], [-1]], np.int32), 500, axis=1)
    signs[0, 0] = 2**20
    assert choose_shift(signs) == 0
    assert choose_shift(np.zeros((0, 4), np.int32)) == 0


def test_twelve_bits_are_a_byte_and_a_half() -> None:
    """-2040 ... 2039 less a few: high parts of -128 ... 127, low parts of 4 bits."""
    for largest in (129, 2039):
        ends = np.array([[largest, -largest]], np.int16)
        assert packed_factor(ends) == 16
        assert np.abs(split(ends, 16)[0]).max() <= 127
    for largest in (0, 29, 127, 128, 2040):
        assert packed_factor(np.array([[largest, -largest]], np.int16)) == 1


@pytest.mark.parametrize(("size", "least"), [(MIN_OF_TWO_BYTES, 20), (4096, 8)])
def test_less_than_a_byte_is_half_a_byte_and_a_part(size: int, least: int) -> None:
    """-29 ... 29 take 6 bits and -44 ... 44 6.67 where fewer do not hold them; few are left whole."""
    for largest, factor in ((least, 4), (29, 4), (30, 6), (44, 6)):
        ends = np.resize(
            np.append(np.arange(-least, least), [largest, -largest]).astype(np.int8), (1, size)
        )
        assert packed_factor(ends) == factor
        high, low = split(ends, factor)
        np.testing.assert_array_equal(factor * high + low, ends)
        assert n_packed_bytes(high) <= size // 2
        assert n_packed_bytes(low) == -(-size // (4 if factor == 4 else 3))
    for largest in (least - 1, 45):
        assert packed_factor(np.resize(np.array([largest, -largest], np.int8), (1, size))) == 1
    assert packed_factor(np.array([[29, -29] * 100], np.int8)) == 1
