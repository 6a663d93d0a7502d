"""Parts of the work, and searches of unknown length."""

from __future__ import annotations

import itertools

from onnxzip.records.progress import PARTS, Rounds, at


def test_parts_follow_each_other_from_0_to_1() -> None:
    ends = list(PARTS.values())
    assert ends[0][0] == 0
    assert ends[-1][1] == 1
    assert all(end == begin for (_, end), (begin, _) in itertools.pairwise(ends))
    assert at("search", 0.5) == sum(PARTS["search"]) / 2


def test_rounds_go_on_and_never_reach_the_end() -> None:
    shown: list[float] = []
    rounds = Rounds(lambda _, fraction: shown.append(fraction), "search")
    for i in range(50):
        rounds.begin(f"trial {i}")
        rounds.show("refit", 0.5)
    begin, end = PARTS["search"]
    assert shown == sorted(shown)
    assert len(set(shown)) == len(shown)
    assert shown[0] == begin
    assert shown[-1] < end
