"""The table of what runtimes answer, as the guide has it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from tests.release.trials.answers import Pair

_COLUMNS = (
    "runtime or tool",
    "version",
    "right",
    "wrong",
    "refused",
    "not for it",
    "largest difference",
    "load",
    "answer",
    "more memory, MB",
    "size after",
)


def print_head() -> None:
    """Print the head of the table.

    `not for it` are models of which it does not take the plain file. `load` and `answer` are the times
    of all compressed files as a multiple of the plain ones', `more memory` is the most that a compressed
    file took over the plain one, `size after` what a tool writes of the compressed files as a multiple
    of what it writes of the plain ones, beside what it is given.
    """
    print(f"| {' | '.join(_COLUMNS)} |")
    print("|---" * len(_COLUMNS) + "|")


def row(name: str, pairs: Sequence[Pair]) -> str:
    """Return the line of a runtime."""
    counts = Counter(pair.verdict for pair in pairs)
    taken = [pair for pair in pairs if pair.verdict in ("right", "wrong")]
    numbers = [str(counts[verdict]) for verdict in ("right", "wrong", "refused", "not for it")]
    if not taken:
        return f"| {' | '.join((name, '-', *numbers, *['-'] * 5))} |"
    cells = (
        str(_facts(taken[0])[1]["version"]),
        *numbers,
        f"{max(pair.difference for pair in taken):.1g}",
        f"{_multiple(taken, 'load_ms'):.2g}x",
        f"{_multiple(taken, 'run_ms'):.2g}x",
        f"{max(pair.small.peak_mb - pair.plain.peak_mb for pair in taken):.0f}",
        _size(taken),
    )
    return f"| {' | '.join((name, *cells))} |"


def findings_of(name: str, pairs: Sequence[Pair]) -> list[str]:
    """Return a line for each file that a runtime refuses or gets wrong, the plain one being right.

    One that takes no plain file at all is a finding as well: then the fault is more likely the script's.
    """
    if pairs and all(pair.verdict == "not for it" for pair in pairs):
        return [f"{name}: takes none of the plain files: {pairs[0].plain.finding}"]
    return [
        f"{name}: {pair.name}: {pair.verdict}: {pair.small.finding or f'{pair.difference:.2g}'}"
        for pair in pairs
        if pair.verdict in ("wrong", "refused")
    ]


def _size(pairs: Sequence[Pair]) -> str:
    if "n_bytes" not in _facts(pairs[0])[1]:
        return "-"
    given = sum(pair.n_bytes[1] for pair in pairs) / sum(pair.n_bytes[0] for pair in pairs)
    return f"{_multiple(pairs, 'n_bytes'):.2f} of {given:.2f}"


def _multiple(pairs: Sequence[Pair], fact: str) -> float:
    """Return a fact's sum over the compressed files, as a multiple of that over the plain ones."""
    sums = [sum(_facts(pair)[i][fact] for pair in pairs) for i in range(2)]
    return float(sums[1] / sums[0])


def _facts(pair: Pair) -> tuple[dict[str, float], dict[str, float]]:
    if pair.plain.facts is None or pair.small.facts is None:
        raise ValueError(f"{pair.name} has no answers")
    return pair.plain.facts, pair.small.facts
