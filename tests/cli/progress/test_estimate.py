"""How long the rest takes."""

from __future__ import annotations

import pytest

from onnxzip.cli.progress.estimate import TimeLeft, clock, worded


def test_work_at_a_steady_rate() -> None:
    left = TimeLeft()
    found = []
    for second in range(1, 100):
        left.step(second, second / 100)
        found.append(left.seconds(second))
    assert found[:8] == [None] * 8, "as long as nothing is known nothing is said"
    known = [(i + 1, seconds) for i, seconds in enumerate(found) if seconds is not None]
    assert all(
        seconds == pytest.approx(max(100 - at, 10 if at < 95 else 0), abs=1.5) for at, seconds in known
    )


def test_work_that_stands_still_never_promises_an_end() -> None:
    left = TimeLeft()
    left.step(10, 0.5)
    first = left.seconds(10)
    later = [left.seconds(second) for second in range(11, 200)]
    assert first == pytest.approx(10)
    assert all(seconds is not None and seconds >= 10 for seconds in later)
    assert later[-1] is not None
    assert later[-1] > 100


def test_a_late_stage_that_is_slower_counts() -> None:
    left = TimeLeft()
    for second in range(1, 11):
        left.step(second, second / 20)
    for second in range(11, 61):
        left.step(second, 0.5 + (second - 10) / 1000)
        left.seconds(second)
    found = left.seconds(60)
    assert found is not None
    assert found > 300


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, ""),
        (3, "a few seconds left"),
        (12, "about 10 s left"),
        (47, "about 50 s left"),
        (56, "about 1 min left"),
        (150, "about 2 min left"),
        (3600, "about 1 h left"),
        (5000, "about 1 h 20 min left"),
    ],
)
def test_words(seconds: float | None, text: str) -> None:
    assert worded(seconds) == text


def test_clock() -> None:
    assert [clock(s) for s in (0, 59.9, 61, 3723)] == ["0:00", "0:59", "1:01", "1:02:03"]
