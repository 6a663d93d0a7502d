"""Codebooks that are closed under changes of sign and of order: large ones that take a small table.

A codebook of k codewords of d numbers that holds, with each codeword, all that come of it by changing
signs and by reordering the numbers of a block is told by k / g of them, where g = 2^d (b!)^(d / b) for
blocks of b numbers. Those are in the chamber where numbers are not negative and fall within a block. A
vector is carried there by sorting its magnitudes; the nearest codeword in the chamber is the nearest of
all then, as in lattices of such symmetry (Conway and Sloane, "Fast quantizing and decoding algorithms
for lattice quantizers and codes", IEEE Trans. Inf. Theory 28(2), 1982), and its index is

    index = (word * n_orders + order) * 2^d + signs

Weights have hardly any sign or order that they prefer, so that little is lost. Beyond the bits of an
entropy coded scalar quantiser at equal error these take, at d = 3, 0.21 for Gaussian numbers and 0.41
for t-distributed ones, packed scalars 0.54 and 0.95 (`python -m tests.bench.vectors`). Codewords are
fitted by Lloyd's iterations (transforms/codebook.py), the nearest is found in a k-d tree.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from functools import cached_property
from math import factorial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

_BLOCK_BY_LENGTH = {2: 2, 3: 3, 4: 2}
"""Numbers of a vector that change places, by its length. All four: 0.07 bits more for t-distributed
numbers at 65,536 codewords, whose chamber then holds only 171."""

_VECTORS_PER_WORD, _MOST_VECTORS = 50, 1 << 17
"""What a word is fitted to, about, and a codebook at most; twice as many gain 0.01 bits."""

_N_ITERATIONS, _N_SETTLING = 8, 3
"""Lloyd iterations, and how many of the last move no codeword elsewhere; 12 gain 0.005 bits."""

_MOVED_SHARE = 0.1
"""Codewords that move to others in the first iteration; fewer later."""

_LEAST_GAIN = 3.0
"""A codeword moves to one whose partial distortion is so many times its own: at an optimum of many
codewords all are equal (Gersho, "Asymptotically optimal block quantization", IEEE Trans. Inf. Theory
25(4), 1979)."""

_N_AT_ONCE = 1 << 18
"""Vectors that are looked up at a time."""


@dataclass(frozen=True)
class Symmetry:
    """The group of a codebook's vectors.

    Attributes:
        length: numbers of a vector, d: 2, 3 or 4.
    """

    length: int

    @property
    def _block(self) -> int:
        return _BLOCK_BY_LENGTH[self.length]

    @cached_property
    def orders(self) -> NDArray[np.int64]:
        """Where each number of a vector comes from in its word, (n_orders, d)."""
        block = self._block
        n_blocks = self.length // block
        found = []
        for parts in itertools.product(itertools.permutations(range(block)), repeat=n_blocks):
            falling = [i * block + j for i, part in enumerate(parts) for j in part]
            found.append(np.argsort(falling))
        return np.array(found)

    @cached_property
    def signs(self) -> NDArray[np.float32]:
        """The signs of a vector by their number, (2^d, d)."""
        bits = np.arange(1 << self.length)[:, None] >> np.arange(self.length)
        return (1 - 2 * (bits & 1)).astype(np.float32)

    @property
    def size(self) -> int:
        """Elements of the group, g."""
        return len(self.orders) << self.length

    def fold(self, vectors: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
        """Carry vectors into the chamber.

        Args:
            vectors: (n, d).

        Returns:
            Theirs in the chamber, (n, d), and the elements that carry those back, (n,) int32.
        """
        block, n_blocks = self._block, self.length // self._block
        signs = (vectors < 0) @ (1 << np.arange(self.length)).astype(np.int32)
        magnitudes = np.abs(vectors).reshape(-1, n_blocks, block)
        falling = np.argsort(-magnitudes, axis=2, kind="stable")
        folded = np.take_along_axis(magnitudes, falling, axis=2).reshape(-1, self.length)
        numbers = self._numbers[falling @ block ** np.arange(block)]
        places = factorial(block) ** np.arange(n_blocks - 1, -1, -1)
        order = (numbers @ places).astype(np.int32)
        return folded, (order << self.length) + signs.astype(np.int32)

    @cached_property
    def _numbers(self) -> NDArray[np.int64]:
        """The number of a block's order by its digits, the first one lowest."""
        block = self._block
        numbers = np.zeros(block**block, np.int64)
        for number, order in enumerate(itertools.permutations(range(block))):
            numbers[np.array(order) @ block ** np.arange(block)] = number
        return numbers

    def unfold(self, words: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return all codewords of those in the chamber, (k / g, d): (k, d)."""
        ordered = words[:, self.orders].reshape(-1, 1, self.length)
        whole: NDArray[np.float32] = (ordered * self.signs).reshape(-1, self.length)
        return whole


class SymmetricCodewords:
    """Finds each vector's nearest codeword of a symmetric codebook, again and again.

    Args:
        words: those in the chamber, (k / g, d).
    """

    def __init__(self, words: NDArray[np.float32]) -> None:
        self._symmetry = Symmetry(words.shape[1])
        self._tree = cKDTree(words)

    def __call__(self, vectors: NDArray[np.float32]) -> NDArray[np.int32]:
        """Return (n,) int32 for (n, d) vectors; memory beyond the result is bounded."""
        indices = np.empty(len(vectors), np.int32)
        for start in range(0, len(vectors), _N_AT_ONCE):
            folded, elements = self._symmetry.fold(vectors[start : start + _N_AT_ONCE])
            words = self._tree.query(folded)[1].astype(np.int32)
            indices[start : start + _N_AT_ONCE] = words * self._symmetry.size + elements
        return indices


def fit(
    vectors: NDArray[np.float32],
    n_codewords: int,
    seed: int,
    importance: NDArray[np.float64] | None = None,
) -> NDArray[np.float32]:
    """Fit the words of a symmetric codebook to a sample of the vectors, by Lloyd's iterations.

    The larger a vector is, the likelier it is drawn, and the less it weighs: tails need more codewords
    than there are vectors in them (t-distributed numbers take 0.07 bits more at d = 2 else). The largest
    are in the sample, whatever is drawn: one that no codeword is near to may cost more than all others.

    Args:
        vectors: (n, d), n > 0.
        n_codewords: k, at most; rounded down to whole orbits, of which there is one at least.
        seed: of the sample.
        importance: as `codebook.fit` has it.

    Returns:
        Words in the chamber, (at most k / g, d) float32.
    """
    generator = np.random.default_rng(seed)
    symmetry = Symmetry(vectors.shape[1])
    n_words = max(n_codewords // symmetry.size, 1)
    chosen, weights = _sample(vectors, n_words, importance, generator)
    sample, _ = symmetry.fold(vectors[chosen])
    words = np.unique(sample[:n_words], axis=0)
    for i in range(_N_ITERATIONS):
        distances, nearest = cKDTree(words).query(sample)
        mass = np.bincount(nearest, weights, len(words))
        sums = [np.bincount(nearest, weights * column, len(words)) for column in sample.T]
        means = np.stack(sums, axis=1) / np.where(mass > 0, mass, 1)[:, None]
        moved = np.where(mass[:, None] > 0, means, words)
        if i < _N_ITERATIONS - _N_SETTLING:
            share = _MOVED_SHARE * (1 - i / (_N_ITERATIONS - _N_SETTLING))
            _spread(moved, sample, nearest, weights * distances**2, int(share * len(words)))
        words = moved
    folded, _ = symmetry.fold(words.astype(np.float32))
    return folded


def _sample(
    vectors: NDArray[np.float32],
    n_words: int,
    importance: NDArray[np.float64] | None,
    generator: np.random.Generator,
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return which vectors to fit to, in random order but for the largest behind, and their weights."""
    n, n_largest = len(vectors), min(n_words, len(vectors))
    squares = np.einsum("nd,nd->n", vectors, vectors)
    chances = 1.0 + squares / max(float(squares.mean(dtype=np.float64)), np.finfo(np.float32).tiny)
    cost = np.ones(n)
    if importance is not None:
        cost = np.repeat(importance / importance.mean(), n // len(importance))
        chances *= cost
    n_wanted = min(n_words * _VECTORS_PER_WORD, _MOST_VECTORS, n)
    drawn = np.searchsorted(np.cumsum(chances), generator.random(n_wanted) * chances.sum())
    drawn = np.minimum(drawn, n - 1)
    weights = cost[drawn] * chances.sum() / (chances[drawn] * n_wanted)
    largest = np.sort(np.argpartition(squares, n - n_largest)[n - n_largest :])
    return np.concatenate([drawn, largest]), np.concatenate([weights, cost[largest]])


def _spread(
    words: NDArray[np.float64],
    sample: NDArray[np.float32],
    nearest: NDArray[Any],
    distortion: NDArray[Any],
    n_most: int,
) -> None:
    """Move the codewords that save least to the worst vectors of those of the largest distortion.

    Args:
        words: (m, d), changed.
        sample: (n, d).
        nearest: (n,), each vector's word.
        distortion: (n,), each vector's.
        n_most: words that may move.
    """
    worst = np.zeros(len(words), np.int64)
    rising = np.argsort(distortion, kind="stable")
    worst[nearest[rising]] = rising  # the last one stays
    by_word = np.bincount(nearest, distortion, len(words))
    order = np.argsort(by_word, kind="stable")
    idle, busy = order[:n_most], order[::-1][:n_most]
    pays = by_word[busy] > _LEAST_GAIN * by_word[idle]
    words[idle[pays]] = sample[worst[busy[pays]]]
