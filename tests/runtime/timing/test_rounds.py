"""Models timed by turns: who runs when, on what, how long, and what the ratio says."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import numpy as np
import pytest

from onnxzip.errors import CalibrationError, ModelError
from onnxzip.records.aliases import Feeds
from onnxzip.records.costs.latency import Latency, Ratio
from onnxzip.runtime.loadable import LoadableModel
from onnxzip.runtime.session import PROBE_MODEL
from onnxzip.runtime.timing import rounds
from onnxzip.runtime.timing.processor import this_processor
from onnxzip.runtime.timing.ratio import ratio_of
from onnxzip.runtime.timing.rounds import Patience, time_models

RELU = LoadableModel(PROBE_MODEL, "relu")
ONE = {"x": np.ones(1, np.float32)}
NEVER = Patience(seconds=60, precision=0)


class Clock:
    """Sessions whose runs take a time of their own, and the only clock there is."""

    def __init__(self, seconds: dict[str, float]) -> None:
        self.now, self.seconds = 0.0, seconds
        self.runs: list[tuple[str, int]] = []
        self.opened: list[dict[str, object]] = []
        self.collects: list[bool] = []

    def perf_counter(self) -> float:
        return self.now

    def open_session(self, source: LoadableModel, **options: object) -> FakeSession:
        self.opened.append(options)
        return FakeSession(self, source.label)


class FakeSession:
    def __init__(self, clock: Clock, name: str) -> None:
        self.clock, self.name = clock, name

    def __enter__(self) -> FakeSession:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def run(self, feeds: Feeds) -> None:
        self.clock.runs.append((self.name, int(feeds["x"])))
        self.clock.collects.append(gc.isenabled())
        self.clock.now += self.clock.seconds[self.name]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[Clock]:
    made = Clock({"a": 0.01, "b": 0.02, "c": 0.04})
    monkeypatch.setattr(rounds, "time", made)
    monkeypatch.setattr(rounds, "open_session", made.open_session)
    yield made
    assert gc.isenabled()


def sources(names: str) -> list[LoadableModel]:
    return [LoadableModel(b"", name) for name in names]


FEEDS = [{"x": np.array(i)} for i in range(2)]


def test_each_runs_once_a_round_in_another_order_on_the_same_inputs(clock: Clock) -> None:
    patience = Patience(seconds=1e9, min_rounds=1, max_rounds=7, precision=0)
    found = time_models(sources("abc"), FEEDS, patience=patience)
    assert [len(own.seconds) for own in found] == [7, 7, 7]
    assert [own.median for own in found] == pytest.approx([0.01, 0.02, 0.04])
    timed = clock.runs[-21:]
    by_round = [timed[i : i + 3] for i in range(0, 21, 3)]
    assert ["".join(name for name, _ in runs) for runs in by_round][:4] == ["abc", "bca", "cab", "abc"]
    assert [{number for _, number in runs} for runs in by_round] == [{i % 2} for i in range(7)]
    assert not any(clock.collects)


def test_sessions_are_as_asked_for(clock: Clock) -> None:
    time_models(sources("ab"), FEEDS, n_threads=3, provider="CUDA", patience=Patience(max_rounds=1))
    wanted = {"provider": "CUDA", "n_threads": 3, "custom_ops": None}
    assert clock.opened == [wanted, wanted]


def test_rounds_end_with_time(clock: Clock) -> None:
    patience = Patience(seconds=1.0, min_rounds=5, max_rounds=999, precision=0)
    short, long = time_models(sources("ab"), FEEDS, patience=patience)
    assert len(short.seconds) == len(long.seconds)
    assert 0.99 < sum(short.seconds + long.seconds) < 1.06
    clock.seconds["a"] = 100.0
    (slow,) = time_models(sources("a"), FEEDS, patience=patience)
    assert len(slow.seconds) == 5  # what is timed whatever it takes


def test_rounds_end_when_every_ratio_is_settled(clock: Clock) -> None:
    patience = Patience(seconds=1e9, max_rounds=100, precision=0.005)
    assert len(time_models(sources("abc"), FEEDS, patience=patience)[0].seconds) == 32
    unsettled = iter(np.random.default_rng(0).uniform(0.01, 0.03, 10_000))

    def run(session: FakeSession, feeds: Feeds) -> None:
        clock.now += next(unsettled) if session.name == "c" else 0.01

    FakeSession.run, whole = run, FakeSession.run  # type: ignore[method-assign,assignment]
    try:
        assert len(time_models(sources("abc"), FEEDS, patience=patience)[0].seconds) == 100
    finally:
        FakeSession.run = whole  # type: ignore[method-assign]


def test_real_sessions() -> None:
    found = time_models([RELU, RELU], [ONE], patience=Patience(seconds=0, min_rounds=5))
    assert [len(own.seconds) for own in found] == [5, 5]
    assert all(0 < seconds < 60 for own in found for seconds in own.seconds)


def test_what_cannot_run_is_told() -> None:
    with pytest.raises(ModelError, match="broken"):
        time_models([RELU, LoadableModel(b"no model", "broken")], [ONE])
    with pytest.raises(CalibrationError, match="relu: the feeds do not fit"):
        time_models([RELU], [{"x": np.ones((2, 2), np.float32)}])
    assert gc.isenabled()


def test_figures_of_a_latency() -> None:
    latency = Latency((5.0, 1.0, 2.0, 3.0, 4.0))
    assert latency.median == 3
    assert latency.quartiles == (2, 4)


def test_the_ratio_holds_where_each_time_alone_moves() -> None:
    """The machine is three times slower in some rounds: pairs tell what medians apart do not."""
    rng = np.random.default_rng(1)
    slowness = rng.choice([1.0, 3.0], 200)
    before = Latency(tuple(slowness * rng.normal(1, 0.01, 200)))
    after = Latency(tuple(0.5 * slowness * rng.normal(1, 0.01, 200)))
    found = ratio_of(before, after)
    assert found.low < 0.5 < found.high
    assert found.high - found.low < 0.02
    assert found.low <= found.value <= found.high
    assert ratio_of(before, after) == found  # the same times, the same interval


def test_equal_times_have_no_interval() -> None:
    same = Latency((0.5,) * 8)
    assert ratio_of(same, Latency((0.25,) * 8)) == Ratio(0.5, 0.5, 0.5)


def test_this_processor_has_a_name() -> None:
    assert this_processor().name.strip() == this_processor().name != ""
    assert set(this_processor().int8) <= {
        *("AVX-VNNI", "AVX-VNNI-INT8", "AVX-512 VNNI", "AMX-INT8", "SDOT/UDOT", "I8MM")
    }
