"""What a model answers, run by run: recorded where it is compared with again and again."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import islice

from onnxzip.inputs.feedset import FeedSet
from onnxzip.runtime.outputs import Outputs
from onnxzip.runtime.session import Session

MAX_RECORDED_BYTES = 2**30
"""A guess that costs time, or memory: the outputs of further runs are computed again."""


def run_all(session: Session, feeds: FeedSet) -> Iterator[Outputs]:
    """Yield what a session answers to each of the feeds, its own states handed on."""
    return feeds.answers(session.run)


class RecordedOutputs:
    """What one model answers to the same feeds; may be iterated any number of times.

    The outputs of the first runs are kept, as many as fit; those of the others are computed again each
    time, in a session that is opened for it.

    Args:
        feeds: what to run on.
        open_session: loads the model.
        max_bytes: of outputs that are kept.
    """

    def __init__(
        self,
        feeds: FeedSet,
        open_session: Callable[[], Session],
        max_bytes: int = MAX_RECORDED_BYTES,
    ) -> None:
        """Run nothing yet."""
        self._feeds = feeds
        self._open_session = open_session
        self._max_bytes = max_bytes
        self._kept: list[Outputs] = []
        self._n_bytes = 0

    def record(self, session: Session, answered: Sequence[Outputs] = ()) -> None:
        """Keep what fits of what is answered, so that no session has to be opened for that.

        Args:
            session: an open one, which is run where answers are not known.
            answered: to all of the feeds, or ().
        """
        for index, outputs in enumerate(answered or run_all(session, self._feeds)):
            if not self._keep(index, outputs):
                return

    def forget(self) -> None:
        """Free what is kept; whoever iterates again computes it again."""
        self._kept, self._n_bytes = [], 0

    def __iter__(self) -> Iterator[Outputs]:
        n_kept = len(self._kept)
        yield from islice(self._kept, n_kept)
        if n_kept < len(self._feeds):
            with self._open_session() as session:
                rest = (self._feeds.asked(session.run(run)) for run in islice(self._feeds, n_kept, None))
                for index, outputs in enumerate(rest, n_kept):
                    self._keep(index, outputs)
                    yield outputs

    def _keep(self, index: int, outputs: Outputs) -> bool:
        """Keep a run's outputs if they are the next ones and fit; return whether they are kept."""
        n_bytes = sum(array.nbytes for array in outputs.values())
        if index != len(self._kept) or self._n_bytes + n_bytes > self._max_bytes:
            return False
        self._kept.append(outputs)
        self._n_bytes += n_bytes
        return True
