"""What a run works with besides the model: what earlier runs have kept, and who works on the weights."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from onnxzip.disk.cache.cache import NOTHING_KEPT, Cache, open_cache
from onnxzip.graph import Model
from onnxzip.options import Options
from onnxzip.propose.room import left_for_each, n_fitting_processes
from onnxzip.propose.working.cluster import open_cluster
from onnxzip.propose.working.recalled import content_of
from onnxzip.propose.working.surroundings import surroundings
from onnxzip.propose.working.workers import LocalWorkers, Workers
from onnxzip.records.finding import Finding
from onnxzip.runtime.memory.watch import MemoryWatch


@dataclass(frozen=True, eq=False)
class Means:
    """What a run works with.

    Attributes:
        cache: what earlier runs have kept.
        workers: who works on weights.
        watch: knows what memory is left.
        n_here: processes of this machine that work on them at a time.
    """

    cache: Cache = NOTHING_KEPT
    workers: Workers = field(default_factory=lambda: LocalWorkers(1))
    watch: MemoryWatch = field(default_factory=lambda: MemoryWatch(None))
    n_here: int = 1

    @property
    def n_free_each(self) -> int | None:
        """Memory that each process may take for layers; None for any."""
        return left_for_each(self.n_here, self.watch.n_free)

    @property
    def findings(self) -> Sequence[Finding]:
        """What a reader of the result must know of them."""
        return (*self.cache.findings, *self.workers.findings)


@contextmanager
def means_for(original: Model, options: Options, watch: MemoryWatch) -> Iterator[Means]:
    """Open what is asked for to work on a model, with what memory is left.

    Raises:
        OutputError: nothing can be written to the folder of the cache.
        UsageError: what talks to clusters is not installed.
        ClusterError: the cluster cannot be reached, or is not fit.
    """
    cache = Cache()
    if options.cache is not None:
        computed_with = surroundings(options.custom_ops)
        cache = open_cache(options.cache, options.cache_size, content_of(original), computed_with)
    if options.cluster is None:
        n_here = n_fitting_processes(options.n_jobs, watch.n_free)
        yield Means(cache, LocalWorkers(n_here), watch, n_here)
        return
    with open_cluster(options.cluster) as workers:
        yield Means(cache, workers, watch)
