"""Reshapes and transpositions: what they amount to, and where factors stand behind them."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from onnxzip.transforms.moves import (
    Move,
    Moves,
    Place,
    keeps_order,
    moved,
    shape_behind,
    simplified,
)


@st.composite
def shapes(draw: st.DrawFn, size: int) -> tuple[int, ...]:
    """Draw a shape of so many elements."""
    sizes: list[int] = []
    while size > 1:
        sizes.append(draw(st.sampled_from([n for n in range(1, size + 1) if size % n == 0])))
        size //= sizes[-1]
    return tuple(sizes) or (1,)


@st.composite
def chains(draw: st.DrawFn) -> tuple[tuple[int, ...], Moves]:
    """Draw a shape and moves of arrays of it."""
    size = draw(st.sampled_from([1, 6, 16, 36, 60, 96]))
    first = shape = draw(shapes(size))
    moves: list[Move] = []
    for _ in range(draw(st.integers(0, 6))):
        if draw(st.booleans()):
            moves.append(("reshape", draw(shapes(size))))
        else:
            moves.append(("transpose", tuple(draw(st.permutations(range(len(shape)))))))
        shape = shape_behind(shape, tuple(moves[-1:]))
    return first, tuple(moves)


@given(chains())
@settings(derandomize=True, deadline=None, max_examples=300)
def test_fewer_moves_do_the_same(chain: tuple[tuple[int, ...], Moves]) -> None:
    shape, moves = chain
    array = np.arange(math.prod(shape)).reshape(shape)
    fewer = simplified(shape, moves)
    assert len(fewer) <= len(moves)
    np.testing.assert_array_equal(moved(array, fewer), moved(array, moves))
    assert shape_behind(shape, moves) == moved(array, moves).shape
    assert keeps_order(moves, shape) <= np.array_equal(moved(array, moves).ravel(), array.ravel())


def test_a_reshape_around_a_transposition_is_spared() -> None:
    moves: Moves = (("reshape", (32, 18)), ("transpose", (1, 0)), ("reshape", (2, 3, 3, 32)))
    assert simplified((576,), moves) == (("reshape", (32, 2, 3, 3)), ("transpose", (1, 2, 3, 0)))
    assert simplified((18, 32), (("transpose", (1, 0)), ("transpose", (1, 0)))) == ()
    joined: Moves = (("reshape", (4, 3, 2)), ("transpose", (2, 0, 1)), ("reshape", (2, 12)))
    assert simplified((24,), joined) == (("reshape", (12, 2)), ("transpose", (1, 0)))


@given(chains(), st.integers(0, 63), st.integers(0, 99))
@settings(derandomize=True, deadline=None, max_examples=300)
def test_factors_stay_with_what_they_belong_to(
    chain: tuple[tuple[int, ...], Moves], mask: int, seed: int
) -> None:
    """Multiplied where they stand behind some moves, and moved on, all is as if they came first."""
    shape, moves = chain
    factor_shape = tuple(n if mask >> i & 1 else 1 for i, n in enumerate(shape))
    rng = np.random.default_rng(seed)
    array, factors = rng.integers(1, 99, shape), rng.integers(1, 99, factor_shape)
    expected = moved(array * factors, moves)
    place = Place(tuple((n,) for n in shape), tuple((n,) for n in factor_shape))
    for i, move in enumerate(moves):
        behind = place.behind(move)
        if behind is None:
            break
        own, of_factors = place.fine_moves(move, behind)
        if own[0] == "transpose":
            array, factors = array.reshape(place.fine_shape), factors.reshape(place.factor_shape)
        array, factors = moved(array, (own,)), moved(factors, (of_factors,))
        place = behind
        product = (array * factors).reshape(place.shape)
        np.testing.assert_array_equal(moved(product, moves[i + 1 :]), expected)


def test_places_of_steps_of_columns_and_groups() -> None:
    """A step a column follows to the kernel, one a run of a segment to a finer axis."""
    place = Place(((2,), (9,), (64,)), ((2,), (9,), (1,)))
    columns: Moves = (("reshape", (18, 64)), ("transpose", (1, 0)), ("reshape", (64, 2, 3, 3)))
    for move in columns:
        behind = place.behind(move)
        assert behind is not None
        place = behind
    assert (place.shape, place.factor_shape) == ((64, 2, 3, 3), (1, 2, 3, 3))
    groups = Place(((32,), (4,), (16,)), ((32,), (4,), (1,))).behind(("reshape", (32, 64)))
    assert groups is not None
    assert (groups.shape, groups.fine_shape, groups.factor_shape) == ((32, 64), (32, 4, 16), (32, 4, 1))
    halves = groups.behind(("reshape", (32, 8, 8)))
    assert halves is not None
    assert (halves.fine_shape, halves.factor_shape) == ((32, 4, 2, 8), (32, 4, 1, 1))
    odd = Place(((32,), (6,), (10,)), ((32,), (6,), (1,)))
    assert odd.behind(("reshape", (32, 4, 15))) is None
