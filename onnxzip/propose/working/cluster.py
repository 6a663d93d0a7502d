"""Workers of a Dask cluster: each weight goes to one of them, once, and its candidates come back.

Tasks carry their weight, so that the scheduler gives those of a worker that is lost to another one; what
was scattered before would be lost with it. No more are under way than keep all cores busy: the scheduler
has the memory of few. Dask's own client is used and not joblib's backend for it, which goes on waiting
where no worker is left, and takes a scheduler that is lost for a result.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import logging
import re
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from onnxzip.errors import ClusterError, OnnxzipError
from onnxzip.propose.working.certificates import security_for
from onnxzip.propose.working.surroundings import arithmetic, code
from onnxzip.propose.working.workers import Result
from onnxzip.records.finding import Finding
from onnxzip.trust.delivery import needing

if TYPE_CHECKING:
    from distributed import Client, Future

T = TypeVar("T")

_CONNECT_S = 10.0
"""For the scheduler to answer, and for a first worker to be there."""

_PATIENCE_S = 60.0
"""Without any worker, while there is work: starting one in a container takes less. Likewise without an
answer."""

_LOOK_S = 2.0
"""Between two looks at whether there is a worker, while none has finished anything."""

_TASKS_PER_CORE = 2
"""Under way: while one is worked on, the next one is on its way."""

_LOST = (asyncio.CancelledError, concurrent.futures.CancelledError)
"""What waiting and results raise when the scheduler is gone: the parents of Dask's own exceptions."""

_TALKATIVE = ("distributed", "tornado")
"""Packages whose loggers print on their own (distributed.config.initialize_logging)."""

_SAME_THERE = "install the same there"

_LARGE_TASK = "distributed.admin.large-graph-warning-threshold"
"""Dask warns of tasks of 10 MB, as it would rather have what is used often scattered; no weight is."""


class ClusterWorkers:
    """Workers of a cluster; made by `open_cluster`.

    Attributes:
        findings: what a reader of the result must know of them.
    """

    def __init__(self, client: Client, address: str) -> None:
        """See `open_cluster`."""
        self.findings: list[Finding] = []
        self._client, self._address = client, address
        self._own_code, self._own_arithmetic = dict(code()), arithmetic()

    def work(
        self,
        function: Callable[..., T],
        arguments: Sequence[tuple[object, ...]],
        names: Sequence[str],
        sizes: Sequence[int],
    ) -> Iterator[Result[T]]:
        """Yield the results as they come, the largest tasks first; see `Workers`.

        Raises:
            ClusterError: the cluster is lost, or has no worker that can do it.
        """
        waiting = deque(sorted(range(len(arguments)), key=lambda i: -sizes[i]))
        running: dict[Future, int] = {}
        try:
            while waiting or running:
                while waiting and len(running) < self._n_at_once():
                    place = waiting.popleft()
                    running[self._submit(function, arguments[place])] = place
                for future in self._finished(running):
                    place = running.pop(future)
                    made_with, result = self._result(future, names[place])
                    yield place, result, self._is_alike(made_with)
        finally:
            for future in running:
                future.cancel()

    def check(self) -> None:
        """Refuse a cluster that has no worker, or one that does not run what runs here.

        Raises:
            ClusterError: that is so.
        """
        try:
            self._ask(lambda: self._client.wait_for_workers(1, timeout=_CONNECT_S), _CONNECT_S)
        except TimeoutError as error:
            raise self._error(
                "has no worker",
                f"start some with: dask worker {self._address} --nthreads 1 --nworkers -1",
            ) from error
        answers = self._ask(lambda: self._client.run(code, on_error="return"))
        for worker, found in answers.items():
            if isinstance(found, OSError):  # it was lost meanwhile: others are left, or come
                continue
            if isinstance(found, BaseException):
                told = f"{type(found).__name__}: {found}"
                raise self._error(f"its worker {worker} cannot run this onnxzip ({told})", _SAME_THERE)
            self._check_code(found, f"its worker {worker}")

    def _n_at_once(self) -> int:
        n_cores: int = sum(self._ask(self._client.nthreads).values())
        return _TASKS_PER_CORE * max(n_cores, 1)

    def _submit(self, function: Callable[..., T], given: tuple[object, ...]) -> Future:
        import dask

        with dask.config.set({_LARGE_TASK: "1 TiB"}):
            return self._client.submit(_worked_out, function, given, pure=False)

    def _finished(self, running: Mapping[Future, int]) -> Sequence[Future]:
        """Return tasks that are done, one at least; wait for it, as long as there is a worker."""
        from distributed import wait

        alone_since: float | None = None
        while True:
            try:
                with self._client.as_current():
                    done = wait(list(running), timeout=_LOOK_S, return_when="FIRST_COMPLETED").done
                return list(done)
            except TimeoutError:
                n_workers = len(self._ask(self._client.nthreads))
            except _LOST as error:
                raise self._lost() from error
            alone_since = None if n_workers else alone_since or time.monotonic()
            if alone_since and time.monotonic() - alone_since > _PATIENCE_S:
                raise self._error(
                    f"has had no worker for {_PATIENCE_S:.0f} s while there was work", "start one"
                )

    def _result(self, future: Future, name: str) -> Any:
        from distributed import KilledWorker

        try:
            return future.result()
        except OnnxzipError:
            raise
        except KilledWorker as error:
            raise self._error(
                f"all workers that worked on '{name}' ended before they were done",
                "give them more memory, or leave the weight alone with `keep`",
            ) from error
        except _LOST as error:
            raise self._lost() from error
        except Exception as error:  # whatever a worker raises
            told = f"{type(error).__name__}: {error}"
            raise self._error(f"a worker failed on '{name}' ({told})", "see its log") from error

    def _ask(self, call: Callable[[], T], limit_s: float = 0.0) -> T:
        """Return what the cluster answers.

        Args:
            call: asks it, and may wait for ever: where a machine is cut off, nothing says so.
            limit_s: after which it should end by itself.

        Raises:
            ClusterError: it is lost, or does not answer.
            TimeoutError: `call` raises it.
        """
        answer: concurrent.futures.Future[T] = concurrent.futures.Future()

        def ask() -> None:
            try:
                answer.set_result(call())
            except BaseException as error:  # CancelledError is no Exception
                answer.set_exception(error)

        threading.Thread(target=ask, daemon=True).start()
        try:
            return answer.result(limit_s + _PATIENCE_S)
        except TimeoutError as error:
            if answer.done():
                raise
            raise self._error(
                f"has not answered for {_PATIENCE_S:.0f} s", "see whether its scheduler and workers run"
            ) from error
        except (OSError, *_LOST) as error:
            raise self._lost() from error

    def _lost(self) -> ClusterError:
        return self._error("was lost while weights were worked on", "start again")

    def _is_alike(self, made_with: tuple[Mapping[str, str], str]) -> bool:
        """Whether a worker adds up as this process does; one that came later may be another one."""
        found, adds_up = made_with
        self._check_code(found, "a worker that joined it")
        if adds_up != self._own_arithmetic and not self.findings:
            text = (
                f"other processors than this one, of {self._address}, worked on weights ({adds_up}; "
                f"here {self._own_arithmetic}): last bits may differ from those of a file made here"
            )
            self.findings.append(Finding("cluster", text))
        return adds_up == self._own_arithmetic

    def _check_code(self, found: Mapping[str, str], who: str) -> None:
        for name, own in self._own_code.items():
            if found.get(name) != own:
                raise self._error(
                    f"{who} has {name} {found.get(name)}, and here it is {own}", _SAME_THERE
                )

    def _error(self, finding: str, step: str) -> ClusterError:
        return ClusterError(f"`cluster` {self._address}: {finding}", step=step)


def _worked_out(
    function: Callable[..., T], given: tuple[object, ...]
) -> tuple[tuple[Mapping[str, str], str], T]:
    """Return a result, and what it was worked out with: what a worker runs."""
    return (dict(code()), arithmetic()), function(*given)


@contextmanager
def open_cluster(address: str) -> Iterator[ClusterWorkers]:
    """Connect to a scheduler, whose workers have to run what runs here.

    Args:
        address: tcp://HOST:PORT, or tls://HOST:PORT with the certificates of Dask's configuration.

    Raises:
        UsageError: the package is not installed.
        ClusterError: the cluster cannot be reached, or is not fit.
    """
    with needing("cluster", "distributed", "cluster"):
        import distributed  # noqa: F401
    with _quiet(), _connected(address) as client:
        workers = ClusterWorkers(client, address)
        workers.check()
        yield workers


@contextmanager
def _quiet() -> Iterator[None]:
    """Let Dask log nothing in the block: it prints what is told by our errors.

    Its configuration gives levels and handlers to several loggers of it, and to those of tornado.
    """
    known = logging.root.manager.loggerDict
    names = [name for name in known if name.partition(".")[0] in _TALKATIVE]
    levels = {log: log.level for log in map(logging.getLogger, names)}
    for log in levels:
        log.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        for log, level in levels.items():
            log.setLevel(level)


@contextmanager
def _connected(address: str) -> Iterator[Client]:
    from distributed import Client

    security = security_for(address)
    try:
        client = Client(address, timeout=_CONNECT_S, set_as_default=False, security=security)
    except (OSError, ValueError) as error:
        # what ran out of time may say nothing
        found = (str(error.__cause__ or ""), str(error), type(error).__name__)
        told = " ".join(next(words for words in found if words.strip()).split())
        told = re.sub(r"^in <.*?>: ", "", told)  # the object that failed, with its place in memory
        raise ClusterError(
            f"`cluster` {address}: no scheduler answers ({told}); check the address, and that it runs"
        ) from error
    try:
        yield client
    finally:
        client.close(timeout=_CONNECT_S)
