"""Two checks that are never mixed: exact proves the surgery, drift measures the loss.

exact: the emitted graph against the original graph that carries the restored weights; the worst relative
deviation, held to EXACT_LIMIT. drift: against the original model, held to the user's metric and limit.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice

from onnxzip.confidence import SampleLosses
from onnxzip.deviations import Measurement, Runs, exact_deviation
from onnxzip.feeds import FeedSet
from onnxzip.metrics import Metric
from onnxzip.runtime import Session
from onnxzip.signature import Outputs
from onnxzip.types import Check, Feeds

EXACT_LIMIT = 1e-5
"""Largest relative deviation of the emitted graph from the one it stands for."""
STABLE_LIMIT = 1e-6
"""Largest relative deviation between two runs of the same model on the same inputs."""
MAX_CACHED_BYTES = 2**30


@dataclass(frozen=True, eq=False)
class RunOutputs:
    """The outputs of a session, run by run; may be iterated any number of times.

    Attributes:
        cached: outputs of the first runs; those of the others are computed again each time.
    """

    session: Session
    feeds: FeedSet
    cached: list[Outputs] = field(default_factory=list, repr=False)

    @property
    def is_complete(self) -> bool:
        """Whether all outputs are kept, so that the session is not needed any more."""
        return len(self.cached) == len(self.feeds)

    def forget(self) -> None:
        """Free what is kept; whoever iterates again needs the session."""
        self.cached.clear()

    def __iter__(self) -> Iterator[Outputs]:
        yield from self.cached
        for feeds in islice(self.feeds, len(self.cached), None):
            yield self.session.run(feeds)


def collect_outputs(session: Session, feeds: FeedSet, max_bytes: int = MAX_CACHED_BYTES) -> RunOutputs:
    """Run a session on all feeds and keep as many outputs as fit into `max_bytes`.

    The session must stay open as long as the result is used.
    """
    cached: list[Outputs] = []
    n_bytes = 0
    for outputs in RunOutputs(session, feeds):
        n_bytes += sum(array.nbytes for array in outputs.values())
        if n_bytes > max_bytes:
            break
        cached.append(outputs)
    return RunOutputs(session, feeds, cached)


def check_exact(
    reference: Runs, candidate: Session, feeds: FeedSet, limit: float = EXACT_LIMIT
) -> Check:
    """Compare the emitted graph with the original graph that carries the restored weights.

    Args:
        reference: outputs of the latter on `feeds`, from `collect_outputs`.
        candidate: the emitted graph.
        feeds: what to run on.
        limit: largest relative deviation.
    """
    found = exact_deviation(reference, RunOutputs(candidate, feeds))
    return Check(
        kind="exact",
        provider=candidate.provider,
        metric="rel_l2",
        value=found.value,
        limit=limit,
        passed=found.value <= limit,
        n_samples=feeds.n_samples,
        seed=feeds.seed,
        note=_note(candidate, feeds, found),
    )


def check_drift(reference: Runs, candidate: Session, feeds: FeedSet, metric: Metric) -> Check:
    """Compare the emitted graph with the original model in the user's metric.

    Args:
        reference: outputs of the original on `feeds`, from `collect_outputs`.
        candidate: the emitted graph.
        feeds: what to run on.
        metric: unit and limit of the loss.

    Raises:
        CalibrationError: the metric does not apply to the outputs, or the user's function fails.
    """
    losses = SampleLosses(metric, feeds.sizes)
    found = metric.measure(reference, losses.watch(reference, RunOutputs(candidate, feeds)))
    return Check(
        kind="drift",
        provider=candidate.provider,
        metric=metric.name,
        value=found.value,
        limit=metric.limit,
        passed=metric.passes(found.value),
        n_samples=feeds.n_samples,
        seed=feeds.seed,
        note=_note(candidate, feeds, found),
        interval=losses.interval(found),
    )


def unstable_outputs(session: Session, feeds: Feeds) -> tuple[str, ...]:
    """Return the outputs that differ between two runs on the same inputs (random operators)."""
    first, second = session.run(feeds), session.run(feeds)
    return tuple(
        name
        for name in {**first, **second}
        if exact_deviation(
            [{key: a for key, a in first.items() if key == name}],
            [{key: a for key, a in second.items() if key == name}],
        ).value
        > STABLE_LIMIT
    )


def is_deterministic(session: Session, feeds: Feeds) -> bool:
    """Return whether two runs on the same inputs agree; without that no comparison means anything."""
    return not unstable_outputs(session, feeds)


def _note(session: Session, feeds: FeedSet, found: Measurement) -> str:
    parts = [feeds.note, found.note, f"worst output {found.output!r}" if found.output else ""]
    if session.n_provider_nodes is not None and session.n_nodes:
        parts.append(f"{session.n_provider_nodes} of {session.n_nodes} nodes run on {session.provider}")
    return "; ".join(part for part in parts if part)
