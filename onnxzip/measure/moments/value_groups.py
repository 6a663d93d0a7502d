"""Reads many intermediate values of a model run by run, a bounded number of bytes at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from pathlib import Path

from onnxzip.graph import Model, loadable, with_value_outputs
from onnxzip.inputs.feedset import FeedSet
from onnxzip.records.aliases import Array, Feeds
from onnxzip.runtime.outputs import Outputs
from onnxzip.runtime.session import Session, open_session

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


def each_value(
    model: Model,
    values: Sequence[str],
    feeds: FeedSet,
    custom_ops: Path | None,
    show: Callable[[float], None],
) -> Iterator[tuple[int, str, Array]]:
    """Run a model and yield values of its main graph, inputs included: run, name, array.

    Args:
        model: the model.
        values: names of the values.
        feeds: what to run on.
        custom_ops: shared library of custom operators.
        show: called with the fraction done.

    Raises:
        ModelError: the model does not run with these values as outputs.
    """
    exposed, names = with_value_outputs(model, values)
    with open_session(loadable(exposed), custom_ops=custom_ops) as session:
        groups = ValueGroups(session, list(names.values()))
        for i_run, run in enumerate(feeds):
            for outputs in chain([{v: run[v] for v in values if v in run}], groups.run(run)):
                for value, array in outputs.items():
                    yield i_run, value, array
            show((i_run + 1) / len(feeds))
