"""What a run works with besides the model: what earlier runs have kept, and who works on the weights."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from onnxzip.disk.cache.cache import NOTHING_KEPT, Cache, open_cache
from onnxzip.graph import Model
from onnxzip.options import Options
from onnxzip.propose.working.cluster import open_cluster
from onnxzip.propose.working.recalled import content_of
from onnxzip.propose.working.surroundings import surroundings
from onnxzip.propose.working.workers import LocalWorkers, Workers
from onnxzip.records.finding import Finding


@dataclass(frozen=True, eq=False)
class Means:
    """What a run works with.

    Attributes:
        cache: what earlier runs have kept.
        workers: who works on weights.
    """

    cache: Cache = NOTHING_KEPT
    workers: Workers = field(default_factory=lambda: LocalWorkers(1))

    @property
    def findings(self) -> Sequence[Finding]:
        """What a reader of the result must know of them."""
        return (*self.cache.findings, *self.workers.findings)


@contextmanager
def means_for(original: Model, options: Options) -> Iterator[Means]:
    """Open what is asked for to work on a model.

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
        yield Means(cache, LocalWorkers(options.n_jobs))
        return
    with open_cluster(options.cluster) as workers:
        yield Means(cache, workers)
