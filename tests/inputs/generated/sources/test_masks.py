"""Masks in every meaning, the lengths that agree with them, and scalars."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onnxzip.inputs.generated.sources.masks import (
    is_mask,
    make_mask,
    mask_meanings,
    row_lengths,
    scale_factors,
    small_integers,
)

BOOL, I64, F32, F16 = (np.dtype(name) for name in ("bool", "int64", "float32", "float16"))

MEANINGS = [
    ("attention_mask", I64, 2, ("keep",)),
    ("decoder_attention_mask", BOOL, 4, ("keep",)),
    ("attention_mask", F32, 2, ("keep",)),
    ("attention_mask", F16, 4, ("add", "keep")),
    ("causal_mask", F32, 3, ("add", "keep")),
    ("pixel_mask", I64, 3, ("keep",)),
    ("input_mask", np.dtype("int32"), 2, ("keep",)),
    ("x_mask", F32, 3, ("keep",)),
    ("key_padding_mask", BOOL, 2, ("hide",)),
    ("src_key_padding_mask", F32, 2, ("add",)),
    ("padding_mask", BOOL, 2, ("hide", "keep")),
    ("padding_mask", F32, 2, ("hide", "keep")),
    ("bool_masked_pos", BOOL, 2, ("hide",)),
    ("global_attention_mask", I64, 2, ("hide",)),
    ("attn_mask", BOOL, 2, ("keep", "hide")),
    ("src_mask", BOOL, 3, ("keep", "hide")),
    ("mask", I64, 2, ("keep", "hide")),
    ("onnx::mask.1", BOOL, 2, ("keep", "hide")),
    ("attn_bias", F32, 4, ("add",)),
]


@pytest.mark.parametrize(("name", "dtype", "rank", "expected"), MEANINGS)
def test_a_name_and_a_type_say_what_ones_mean(
    name: str, dtype: np.dtype, rank: int, expected: tuple[str, ...]
) -> None:
    assert is_mask(name)
    assert is_mask(name.upper())
    assert mask_meanings(name, dtype, rank) == expected


def test_what_is_no_mask() -> None:
    assert not any(is_mask(name) for name in ("input_ids", "x", "bias", "attention", "lengths"))


def test_rows_end_padded_to_lengths_that_other_inputs_can_be_given() -> None:
    mask = make_mask("attention_mask", "keep", (6, 20), I64)
    lengths = row_lengths(6, 20)
    np.testing.assert_array_equal(mask.sum(axis=1), lengths)
    np.testing.assert_array_equal(np.sort(mask, axis=1)[:, ::-1], mask)
    assert (lengths[::2] == 20).all()
    assert (lengths[1::2] < 20).all()
    assert len(set(lengths[1::2].tolist())) == 3
    assert mask.mean() > 0.75


def test_rows_are_numbered_through_all_runs() -> None:
    whole = row_lengths(8, 50)
    np.testing.assert_array_equal(
        np.concatenate([row_lengths(1, 50, first_row=i) for i in range(8)]), whole
    )
    parts = [make_mask("mask", "hide", (1, 50), BOOL, first_row=i) for i in range(8)]
    np.testing.assert_array_equal(np.concatenate(parts), make_mask("mask", "hide", (8, 50), BOOL))


SHAPES = [
    (7,),
    (1, 7),
    (4, 7),
    (4, 1, 7),
    (4, 7, 1),
    (4, 7, 7),
    (4, 1, 7, 7),
    (4, 1, 5, 7),
    (4, 1, 1, 7),
    (7, 7),
]
NAMES = ["mask", "attn_mask", "padding_mask", "causal_mask", "tgt_mask", "src_mask", "pixel_mask"]


@pytest.mark.parametrize(("name", "shape"), list(itertools.product(NAMES, SHAPES)))
def test_some_tokens_of_every_row_are_seen_under_either_reading(
    name: str, shape: tuple[int, ...]
) -> None:
    keep = make_mask(name, "keep", shape, BOOL, first_row=3, always_padded=True)
    hide = make_mask(name, "hide", shape, BOOL, first_row=3, always_padded=True)
    add = make_mask(name, "add", shape, F16, first_row=3, always_padded=True)
    assert keep.shape == shape
    np.testing.assert_array_equal(keep, ~hide)
    np.testing.assert_array_equal(add == 0, keep)
    assert np.isfinite(add).all()
    axis = (-2, -1) if shape[-1] == 1 or (len(shape) > 2 and "pixel" in name) else -1
    assert keep.any(axis=axis).all()
    assert hide.any(axis=axis).all()


def test_masks_of_pairs() -> None:
    """Rows of padding alone for encoders; for decoders no token sees a later one."""
    causal = make_mask("attention_mask", "keep", (2, 1, 3, 5), BOOL)
    np.testing.assert_array_equal(causal[0, 0], np.tri(3, 5, 2, dtype=bool))
    assert not (causal[1] & ~causal[0]).any()
    assert causal[1, 0, 2].sum() == row_lengths(2, 5)[1]
    source = make_mask("src_mask", "hide", (2, 5, 5), BOOL)
    assert not source[0].any()
    assert (source[1] == source[1, :1]).all()
    triangle = make_mask("causal_mask", "add", (5, 5), F32)
    np.testing.assert_array_equal(triangle == 0, np.tri(5, dtype=bool))
    batch = make_mask("attention_mask", "keep", (5, 5), I64)
    np.testing.assert_array_equal(batch.sum(axis=1), row_lengths(5, 5))


def test_pictures_are_padded_on_two_sides() -> None:
    mask = make_mask("pixel_mask", "keep", (2, 6, 9), I64)
    assert mask[0].all()
    assert not mask[1, -1].any()
    assert not mask[1, :, -1].any()
    assert mask[1, 0, 0]


@settings(derandomize=True, deadline=None)
@given(st.integers(0, 9), st.integers(0, 600), st.integers(0, 10**6), st.booleans())
def test_lengths_lie_between_one_and_all(
    n_rows: int, longest: int, first_row: int, always: bool
) -> None:
    lengths = row_lengths(n_rows, longest, first_row=first_row, always_padded=always)
    assert lengths.shape == (n_rows,)
    if longest and n_rows:
        assert 1 <= lengths.min() <= lengths.max() <= longest
        assert 2 * lengths.min() >= min(longest, 2)


def test_masks_without_axes_or_elements() -> None:
    assert make_mask("has_mask", "keep", (), F32) == 1
    assert make_mask("mask", "keep", (0, 4), BOOL).shape == (0, 4)
    assert make_mask("mask", "hide", (4, 0), BOOL).shape == (4, 0)
    assert make_mask("mask", "keep", (2, 1), BOOL).all()


def test_scalars_go_over_ranges() -> None:
    rng = np.random.default_rng(0)
    factors = scale_factors((4000,), rng)
    assert 0.5 <= factors.min() < 0.52
    assert 1.95 < factors.max() <= 2
    assert abs((factors < 1).mean() - 0.5) < 0.05
    assert set(small_integers((100,), rng).tolist()) == {0, 1, 2, 3}
    assert scale_factors((), rng).shape == small_integers((), rng).shape == ()
