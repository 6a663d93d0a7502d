"""What the parts of a model that are still to run read, for every run; on disk where it is much."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TypeAlias

from onnxzip.graph import release_pages, share_with_disk
from onnxzip.inputs.feedset import FeedSet
from onnxzip.records.aliases import Array
from onnxzip.runtime.session import Session

_MAX_BYTES_IN_MEMORY = 24 << 20
"""What is more lies on disk and gives the same bytes: at 64 MB resnet20 takes 275 MB in all and 1 % less
time, at 8 MB 247 instead of 250 MB and 2 % more."""

LiveValues: TypeAlias = Mapping[str, Array]


class PartitionRun:
    """Runs one partition of a model, whose weights are constants: kernels may pack them.

    Args:
        open_with: opens a session with other weights, by the name that the partition has for them.
        inputs: what the partition reads of the frontier.
    """

    def __init__(self, open_with: Callable[[LiveValues], Session], inputs: frozenset[str]) -> None:
        self._open_with, self._inputs = open_with, inputs
        self._sessions: list[tuple[LiveValues, Session]] = []

    def __call__(
        self, values: LiveValues, weights: LiveValues, names: Sequence[str]
    ) -> dict[str, Array]:
        """Return the named values; a session is opened for each mapping of weights, and kept."""
        fed = {name: array for name, array in values.items() if name in self._inputs}
        return self._session(weights).run(fed, names)

    def _session(self, weights: LiveValues) -> Session:
        for known, session in self._sessions:
            if known is weights or not (known or weights):
                return session
        self._sessions.append((weights, self._open_with(weights)))
        return self._sessions[-1][1]

    def close(self) -> None:
        """Free the memory of all sessions."""
        for _, session in self._sessions:
            session.close()
        self._sessions = []

    def __enter__(self) -> PartitionRun:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Frontier:
    """What partitions to come read, for every run: the model's inputs, and values made already."""

    def __init__(self, feeds: FeedSet) -> None:
        self._feeds = list(feeds)
        self._made: list[dict[str, Array]] = [{} for _ in self._feeds]
        self._n_bytes = 0

    def __getitem__(self, run: int) -> LiveValues:
        return {**self._feeds[run], **self._made[run]}

    def __iter__(self) -> Iterator[LiveValues]:
        return (self[run] for run in range(len(self._feeds)))

    def copy(self) -> Frontier:
        """Return a frontier that goes on from here by itself; what was made is not copied."""
        other = Frontier(FeedSet((), ()))
        other._feeds, other._made, other._n_bytes = self._feeds, list(self._made), self._n_bytes
        return other

    def replace(self, run: int, values: LiveValues, live: frozenset[str]) -> None:
        """Add a run's values and drop what no later partition reads; on disk where it is much in all."""
        before = self._made[run]
        kept = {name: array for name, array in {**before, **values}.items() if name in live}
        self._n_bytes += sum(a.nbytes for a in kept.values()) - sum(a.nbytes for a in before.values())
        if self._n_bytes > _MAX_BYTES_IN_MEMORY:
            kept = dict(zip(kept, share_with_disk(list(kept.values())), strict=True))
            release_pages(kept.values())
        self._made[run] = kept
