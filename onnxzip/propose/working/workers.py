"""Who works on a model's weights, each by itself: this process, processes of this machine, a cluster."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol, TypeAlias, TypeVar

from joblib import Parallel, delayed

from onnxzip.errors import UsageError
from onnxzip.records.finding import Finding
from onnxzip.runtime.apart import end_with
from onnxzip.runtime.session import n_cores

T = TypeVar("T")

Result: TypeAlias = tuple[int, T, bool]
"""The place of a task, its result, and whether it is what this process would have worked out, bit by
bit."""

_N_PROCESSES_PER_CORE = 4
"""More only take memory, some 200 MB each."""


class Workers(Protocol):
    """Whoever works out tasks that know nothing of each other."""

    findings: list[Finding]
    """What a reader of the result must know of them."""

    def work(
        self,
        function: Callable[..., T],
        arguments: Sequence[tuple[object, ...]],
        names: Sequence[str],
        sizes: Sequence[int],
    ) -> Iterator[Result[T]]:
        """Yield the results of tasks, in whatever order they come.

        Args:
            function: of a module.
            arguments: of each task.
            names: what each is called in messages.
            sizes: about how much work each is, in proportion.
        """


class LocalWorkers:
    """Processes of this machine; this process itself where one is wanted.

    Args:
        n_jobs: how many at most.
    """

    def __init__(self, n_jobs: int) -> None:
        """Start nothing yet."""
        self.findings: list[Finding] = []
        self._n_jobs = n_jobs

    def work(
        self,
        function: Callable[..., T],
        arguments: Sequence[tuple[object, ...]],
        names: Sequence[str],
        sizes: Sequence[int],
    ) -> Iterator[Result[T]]:
        """Yield the results in order; see `Workers`.

        Raises:
            UsageError: what joblib reads from the environment is no number.
        """
        pool = Parallel(
            n_jobs=_n_processes(self._n_jobs, len(arguments)),
            prefer="processes",
            return_as="generator",
            initializer=end_with,
            initargs=(os.getpid(),),
        )
        for place, result in enumerate(pool(delayed(function)(*given) for given in arguments)):
            yield place, result, True


def _n_processes(wanted: int, n_tasks: int) -> int:
    """Return how many processes to work in.

    Raises:
        UsageError: what joblib reads from the environment is no number.
    """
    n_processes = max(min(wanted, n_tasks, _N_PROCESSES_PER_CORE * n_cores()), 1)
    limit = os.environ.get("LOKY_MAX_CPU_COUNT", "1")
    if n_processes > 1 and not re.fullmatch(r"[0-9]{1,9}", limit.strip()):
        raise UsageError(
            f"the environment's LOKY_MAX_CPU_COUNT is {limit[:20]!r}, not a whole number; unset it"
        )
    return n_processes
