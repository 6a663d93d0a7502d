"""Says whether dependent quantisation would pay behind the coder, on synthetic coefficients.

    python -m tests.bench.dependent

The four-state machine of VVC and NNC (ISO/IEC 15938-17): states 0 and 1 take even multiples of the
step, 2 and 3 odd ones and zero, and the parity of an index leads to the next state. Paths are found by
Viterbi's algorithm with the rate as a part of the cost. Printed are bits a coefficient, and how many
fewer these are than those of rounding by rate and distortion at the same error: with a context for each
kind of state, which a decoder without loops cannot have (the state at a tuple depends on the tuples
before it), and with one context, which it can.
"""

from __future__ import annotations

import sys

import numpy as np

NEXT_STATE = np.array([[0, 2], [2, 0], [1, 3], [3, 1]])
"""By state and parity of the index."""

N_ROWS, LENGTH, N_ROUNDS = 1000, 64, 5
PLAIN_STEPS = (0.5, 0.6, 0.7, 0.8, 0.9, 1.1, 1.4, 1.8, 2.3, 3.0)
STEPS = (0.35, 0.5, 0.7, 0.9, 1.2)
PLAIN_PRICES, PRICE = (0.06, 0.1, 0.14, 0.2), 0.4


def code_lengths(indices: np.ndarray) -> tuple[int, np.ndarray]:
    """Return the lowest index, and -log2 of each one's share from there on."""
    low = int(indices.min())
    counts = np.bincount((indices - low).ravel()) + 0.5
    return low, -np.log2(counts / counts.sum())


def entropy(indices: np.ndarray) -> float:
    """Return the zeroth-order entropy in bits."""
    counts = np.unique(indices, return_counts=True)[1]
    return float(np.log2(indices.size) - (counts * np.log2(counts)).sum() / indices.size)


def bits_of(lengths: tuple[int, np.ndarray] | None, indices: np.ndarray) -> np.ndarray:
    """Return what indices cost: at first by a guess, then as measured."""
    if lengths is None:
        return 2 * np.log2(1 + np.abs(indices)) + 0.5
    low, bits = lengths
    return bits[np.clip(indices - low, 0, len(bits) - 1)]


def round_plainly(values: np.ndarray, step: float, price: float) -> tuple[float, float]:
    """Return (bits, mean squared error) of rounding each value to the cheaper of two neighbours."""
    scaled = np.abs(values) / step
    indices = np.rint(values / step).astype(int)
    for _ in range(N_ROUNDS):
        lengths = code_lengths(indices)
        up, down = (
            (np.sign(values) * np.maximum(np.floor(scaled + 0.5) - d, 0)).astype(int) for d in (0, 1)
        )
        costs = [(values / step - k) ** 2 + price * bits_of(lengths, k) for k in (up, down)]
        indices = np.where(costs[0] <= costs[1], up, down)
    return entropy(indices), float(np.mean((values - indices * step) ** 2))


def reconstruct(indices: np.ndarray, states: np.ndarray | int) -> np.ndarray:
    """Return the multiples of the step that indices stand for in their states."""
    return 2 * indices - np.where(np.asarray(states) < 2, 0, np.sign(indices))


def find_path(
    scaled: np.ndarray, lengths: list[tuple[int, np.ndarray] | None]
) -> tuple[np.ndarray, np.ndarray]:
    """Return indices and states of the cheapest path through each row, (n_rows, length)."""
    n_rows, length = scaled.shape
    total = np.full((n_rows, 4), np.inf)
    total[:, 0] = 0
    chosen, came_from = np.zeros((2, length, n_rows, 4), int)
    for t in range(length):
        arrived = np.full((n_rows, 4), np.inf)
        for state in range(4):
            value = scaled[:, t]
            near = np.rint((value if state < 2 else value + np.sign(value)) / 2).astype(int)
            for index in (near - 1, near, near + 1, np.zeros(n_rows, int)):
                error = (value - reconstruct(index, state)) ** 2
                cost = total[:, state] + error + PRICE * bits_of(lengths[state // 2], index)
                goal = NEXT_STATE[state, index & 1]
                rows = np.flatnonzero(cost < arrived[np.arange(n_rows), goal])
                arrived[rows, goal[rows]] = cost[rows]
                chosen[t, rows, goal[rows]] = index[rows]
                came_from[t, rows, goal[rows]] = state
        total = arrived
    indices, states = np.zeros((2, n_rows, length), int)
    state, rows = total.argmin(axis=1), np.arange(n_rows)
    for t in reversed(range(length)):
        indices[:, t] = chosen[t, rows, state]
        state = states[:, t] = came_from[t, rows, state]
    return indices, states


def quantise_dependently(values: np.ndarray, step: float, has_contexts: bool) -> tuple[float, float]:
    """Return (bits, mean squared error) of the four-state machine."""
    lengths: list[tuple[int, np.ndarray] | None] = [None, None]
    for _ in range(N_ROUNDS):
        indices, states = find_path(values / step, lengths)
        parts = [indices[states < 2], indices[states >= 2]] if has_contexts else [indices]
        lengths = [code_lengths(parts[0]), code_lengths(parts[-1])]
    bits = sum(entropy(part) * part.size for part in parts) / indices.size
    return bits, float(np.mean((values - reconstruct(indices, states) * step) ** 2))


def main() -> int:
    """Print a row for each distribution and each kind of contexts."""
    random = np.random.default_rng(0)
    shape = (N_ROWS, LENGTH)
    sources = {
        "Gaussian": random.standard_normal(shape),
        "Laplacian": random.laplace(0, 0.5**0.5, shape),
    }
    print("| source | contexts | bits, fewer bits | | | | |", "|---|---|---|---|---|---|---|", sep="\n")
    for name, values in sources.items():
        tried = [round_plainly(values, step, price) for step in PLAIN_STEPS for price in PLAIN_PRICES]
        best = [(b, e) for b, e in tried if not any(b2 < b and e2 < e for b2, e2 in tried)]
        bits, errors = np.array(sorted(best, key=lambda pair: pair[1])).T
        for has_contexts in (True, False):
            found = [quantise_dependently(values, step, has_contexts) for step in STEPS]
            cells = [f"{b:.2f}, {np.interp(np.log(e), np.log(errors), bits) - b:.3f}" for b, e in found]
            print(
                f"| {name} | {'by state' if has_contexts else 'one'} | {' | '.join(cells)} |", flush=True
            )
    return 0


if __name__ == "__main__":
    sys.exit(main())
