"""Reads many intermediate values of a model run by run, a bounded number of bytes at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from onnxzip.records.aliases import Feeds
from onnxzip.runtime.outputs import Outputs
from onnxzip.runtime.session import Session

_MAX_GROUP_BYTES = 16 << 20
"""Values that are taken from a run at once: a guess that costs runs, or memory."""

_FIRST_GROUP = 4
"""The same in values, before one run has told their sizes."""


class ValueGroups:
    """The outputs of a session, in groups that are asked for one after the other."""

    def __init__(self, session: Session, names: Sequence[str]) -> None:
        self._session, self._names = session, list(names)
        starts = range(0, len(self._names), _FIRST_GROUP)
        self._groups = [self._names[i : i + _FIRST_GROUP] for i in starts]
        self._is_sized = False

    def run(self, feeds: Feeds) -> Iterator[Outputs]:
        """Yield the values of one run, group by group."""
        sizes: dict[str, int] = {}
        for group in self._groups:
            values = self._session.run(feeds, group)
            sizes.update({name: array.nbytes for name, array in values.items()})
            yield values
        if not self._is_sized:
            self._groups = _group([(name, sizes[name]) for name in self._names])
            self._is_sized = True


def _group(sizes: Sequence[tuple[str, int]]) -> list[list[str]]:
    """Put values together that take at most _MAX_GROUP_BYTES in a run."""
    groups: list[list[str]] = []
    room = 0
    for name, n_bytes in sizes:
        if n_bytes > room:
            groups.append([])
            room = _MAX_GROUP_BYTES
        groups[-1].append(name)
        room -= n_bytes
    return groups
