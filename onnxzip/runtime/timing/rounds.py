"""Times models by turns, in one process, on the same inputs.

What slows a machine down for a while, another program or a lower clock, then slows all of them down, and
the ratio of two models' times is told to within a percent where each time alone is not to within ten.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from onnxzip.records.aliases import Feeds
from onnxzip.records.costs.latency import Latency, Ratio
from onnxzip.runtime.loadable import LoadableModel
from onnxzip.runtime.session import Session, open_session
from onnxzip.runtime.timing.ratio import ratio_of

_N_WARM_UP, _WARM_UP_S = 3, 0.1
"""Rounds that are not counted, at least, and seconds that they go on for: the first runs of a session
allocate its memory, and a processor takes some 50 ms to its full clock."""

_FIRST_LOOK = 32
"""Rounds after which the ratios are looked at for the first time, then after twice as many each time."""


@dataclass(frozen=True)
class Patience:
    """When rounds end.

    Attributes:
        seconds: after which no further round begins, sessions not counted.
        min_rounds: that are timed whatever they take.
        max_rounds: that are timed at most.
        precision: half the width of a ratio's interval, in ratios, that is enough; 0 for none.
    """

    seconds: float = 6.0
    min_rounds: int = 5
    max_rounds: int = 512
    precision: float = 0.005


def time_models(
    sources: Sequence[LoadableModel],
    feeds: Sequence[Feeds],
    *,
    n_threads: int = 1,
    provider: str = "CPU",
    custom_ops: Path | None = None,
    patience: Patience | None = None,
) -> tuple[Latency, ...]:
    """Run models by turns, each once a round, on the same inputs.

    The order changes from round to round, so that each model runs behind each other one. Rounds end when
    the ratio of each model's median to that of the first one is settled, or with `patience`.

    Args:
        sources: the models.
        feeds: inputs of a run each; all models of a round are fed the same.
        n_threads: of each session; they do not spin while they wait.
        provider: a short or long provider name.
        custom_ops: shared library of custom operators to register.
        patience: when rounds end; that of the class by default.

    Returns:
        The times of each model; runs at the same place were made in the same round.

    Raises:
        CalibrationError: the feeds do not fit a model.
        ModelError: onnxruntime refuses a model, or it fails.
        ProviderError: the provider cannot start, or an operator is unknown.
    """
    allowed = patience or Patience()
    times: list[list[float]] = [[] for _ in sources]
    with ExitStack() as stack:
        sessions = [
            stack.enter_context(
                open_session(source, provider=provider, n_threads=n_threads, custom_ops=custom_ops)
            )
            for source in sources
        ]
        stack.enter_context(_without_collector())
        _warm_up(sessions, feeds)
        begun = time.perf_counter()
        for turn in range(allowed.max_rounds):
            is_late = time.perf_counter() - begun > allowed.seconds
            if turn >= allowed.min_rounds and (is_late or _is_settled(times, allowed.precision)):
                break
            for place in _order(len(sessions), turn):
                times[place].append(_timed(sessions[place], feeds[turn % len(feeds)]))
    return tuple(Latency(tuple(own)) for own in times)


def _order(n_models: int, turn: int) -> Iterator[int]:
    """Yield the places of all models, from another one on in every round."""
    return ((turn + i) % n_models for i in range(n_models))


def _timed(session: Session, feeds: Feeds) -> float:
    started = time.perf_counter()
    session.run(feeds)
    return time.perf_counter() - started


def _warm_up(sessions: Sequence[Session], feeds: Sequence[Feeds]) -> None:
    """Run every session on every kind of feeds, and until the machine has its clock."""
    begun, turn = time.perf_counter(), 0
    while turn < max(_N_WARM_UP, len(feeds)) or time.perf_counter() - begun < _WARM_UP_S:
        for session in sessions:
            session.run(feeds[turn % len(feeds)])
        turn += 1


def _is_settled(times: Sequence[Sequence[float]], precision: float) -> bool:
    """Whether every ratio is known well enough; looked at after 32, 64, ... rounds."""
    n_rounds = len(times[0])
    if len(times) < 2 or not precision or n_rounds < _FIRST_LOOK or n_rounds & (n_rounds - 1):
        return False
    first, *others = (Latency(tuple(own)) for own in times)
    return all(_half_width(ratio_of(first, other)) < precision for other in others)


def _half_width(ratio: Ratio) -> float:
    """Return half the width of an interval, as a share of the ratio."""
    return (ratio.high - ratio.low) / 2 / ratio.value


@contextmanager
def _without_collector() -> Iterator[None]:
    """Keep Python's collector from running between two clocks."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
