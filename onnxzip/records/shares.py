"""A whole number of bytes, shared out."""

from __future__ import annotations

from collections.abc import Sequence


def apportion(total: int, weights: Sequence[int]) -> list[int]:
    """Share out a whole number in proportion to weights, by the largest remainder.

    The shares sum up to `total`; they are the weights themselves where those do so. All weights 0
    count alike, and no weights have no shares.

    Args:
        total: what is shared out, from 0.
        weights: whole numbers from 0.
    """
    if weights and not any(weights):
        weights = [1] * len(weights)
    whole = sum(weights)
    shares = [total * weight // whole for weight in weights]
    by_remainder = sorted(range(len(weights)), key=lambda i: -(total * weights[i] % whole))
    for i in by_remainder[: total - sum(shares)]:
        shares[i] += 1
    return shares


def apportion_at_most(most: int, sizes: Sequence[int]) -> list[int]:
    """Return the sizes where they sum up to `most` at most, else their shares of it."""
    return apportion(min(most, sum(sizes)), sizes)
