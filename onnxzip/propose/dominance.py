"""Ends the ladders of passes that are no match for others, before all of their rungs are made.

Ladders rise from the fewest bytes to the most, and what a pass needs more than others at equal error
changes slowly from rung to rung. So a few rungs in a row tell of those behind them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from onnxzip.records.plan import Candidate, Skip

_MOST_EXCESS, _N_HOPELESS = 1.2, 2
"""Bytes, as a ratio to the fewest that usual passes take at equal error, and rungs in a row above it.
Of resnet20, all-MiniLM-L6-v2, digits_attention, _cnn and _gru no rung behind such ones took less than
1.02 of the usual bytes (`python -m tests.bench.constants onnxzip.propose.dominance:_MOST_EXCESS 1.2 9`
compares sizes and losses with and without)."""


class Usual:
    """What the usual passes' candidates take at an error.

    Args:
        candidates: of those passes.
    """

    def __init__(self, candidates: Sequence[Candidate]) -> None:
        least = np.inf
        errors, sizes = [], []
        for error, n_bytes in sorted((c.error, c.n_bytes) for c in candidates if c.error > 0):
            if n_bytes < least:
                least = n_bytes
                errors.append(error)
                sizes.append(n_bytes)
        self._errors, self._sizes = np.log(errors), np.log(sizes)

    def excess(self, candidate: Candidate) -> float:
        """Return the ratio of a candidate's bytes to theirs; 0 where none of them is as exact."""
        error = np.log(candidate.error) if candidate.error > 0 else -np.inf
        if not self._errors.size or error < self._errors[0]:
            return 0.0
        usual = np.interp(error, self._errors, self._sizes)
        return float(candidate.n_bytes / np.exp(usual))


def worthwhile(offers: Iterator[Candidate | Skip], usual: Usual) -> Iterator[Candidate | Skip]:
    """Yield a pass's offers until several in a row take far more bytes than is usual."""
    n_hopeless = 0
    for offer in offers:
        yield offer
        if isinstance(offer, Candidate):
            n_hopeless = n_hopeless + 1 if usual.excess(offer) > _MOST_EXCESS else 0
        if n_hopeless == _N_HOPELESS:
            return
