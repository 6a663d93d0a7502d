"""Times models of one kind, the original and what is made of it, on some of its inputs."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from onnxzip.errors import CalibrationError, ModelError, UsageError
from onnxzip.graph import KernelOwners, Model, loadable, with_node_names
from onnxzip.inputs.batches import check_batch, with_batch
from onnxzip.inputs.feedset import interleaved
from onnxzip.measure.speed.room import check_room
from onnxzip.measure.subject import Subject
from onnxzip.options import Options
from onnxzip.records.aliases import Feeds
from onnxzip.records.costs.latency import Latency, Speed
from onnxzip.runtime.session import Session, open_session
from onnxzip.runtime.timing.kernels import kernel_seconds
from onnxzip.runtime.timing.processor import this_processor
from onnxzip.runtime.timing.ratio import ratio_of
from onnxzip.runtime.timing.rounds import Patience, time_models

_log = logging.getLogger(__name__)

_MAX_RUNS = 8
"""Runs that are timed again and again: of texts or sounds of several lengths, a few of them."""


@dataclass(frozen=True, eq=False)
class Stopwatch:
    """Times models on the same inputs, threads and provider; made by `stopwatch_for`.

    Attributes:
        feeds: inputs of a run each.
        batch: samples in each run; None where no axis of the inputs counts them.
        n_threads: of a session.
        provider: short name of the execution provider.
        custom_ops: shared library of custom operators.
    """

    feeds: tuple[Feeds, ...]
    batch: int | None
    n_threads: int = 1
    provider: str = "CPU"
    custom_ops: Path | None = None

    def latencies(
        self, models: Sequence[Model], patience: Patience | None = None
    ) -> tuple[Latency, ...]:
        """Time models by turns; see `time_models`.

        Raises:
            ModelError: onnxruntime refuses a model, or it fails.
            ProviderError: an operator is unknown.
        """
        return time_models(
            list(map(loadable, models)),
            self.feeds,
            n_threads=self.n_threads,
            provider=self.provider,
            custom_ops=self.custom_ops,
            patience=patience,
        )

    def compare(self, before: Model, after: Model, patience: Patience | None = None) -> Speed:
        """Time a model beside its original; see `latencies`."""
        first, second = self.latencies([before, after], patience)
        return Speed(
            first,
            second,
            ratio_of(first, second),
            self.n_threads,
            self.batch,
            self.provider,
            this_processor(),
        )

    def node_seconds(self, model: Model) -> dict[str, float]:
        """Return the median of the seconds that each node of a model takes in a run on the CPU.

        The times of fused nodes are those of the one that does the work, Conv or MatMul. What belongs to
        no node, reorders and transpositions that onnxruntime adds, has the name that it gives them. The
        clock has whole microseconds: compare sums of small nodes with care.

        Args:
            model: nodes without a name of their own get one on a copy; call `graph.with_node_names`
                before to know it.

        Raises:
            ModelError: onnxruntime refuses the model, or it fails.
            ProviderError: an operator is unknown.
            OutputError: there is no room for temporary files.
        """
        named = with_node_names(model)
        owners, found = KernelOwners(named), defaultdict[str, float](float)
        kernels = kernel_seconds(
            loadable(named), self.feeds, n_threads=self.n_threads, custom_ops=self.custom_ops
        )
        for kernel, seconds in kernels.items():
            found[owners.owner(kernel.name, kernel.op_type)] += seconds
        return dict(found)


def check_timed(original: Model, options: Options) -> None:
    """Refuse samples in a run that the model's inputs cannot have, before any run of it.

    Inputs that may be left out count where they are fed, which is not known yet.

    Raises:
        UsageError: it takes another number of samples.
        ModelError: onnxruntime does not load it.
    """
    if options.batch is None:
        return
    with open_session(loadable(original), custom_ops=options.custom_ops) as session:
        if not session.optional_inputs:
            check_batch(session.inputs, options.batch, original.source)


def stopwatch_for(original: Model, subject: Subject, options: Options) -> Stopwatch:
    """Return what times a model and what is made of it, as the user asked for.

    The inputs are some of those of the verdict: the user's, or those that are made up.

    Args:
        original: the model.
        subject: has its inputs and providers; the first of these is what is timed on.
        options: has the number of threads and the samples in a run.

    Raises:
        UsageError: the model does not take so many samples in a run, or there is no memory for them.
    """
    feeds = interleaved([sample.feeds for sample in subject.samples]).feeds
    places = np.linspace(0, len(feeds) - 1, min(len(feeds), _MAX_RUNS)).astype(int)
    chosen = [feeds[place] for place in places]
    with open_session(loadable(original), custom_ops=options.custom_ops) as session:
        inputs = (*session.inputs, *session.optional_inputs)
        if options.batch is not None:
            check_room(original, chosen, inputs, options.batch)
        sized, batch = with_batch(chosen, inputs, options.batch, original.source)
        reason = _why_not(session, sized)
    if reason and options.batch is not None:
        raise UsageError(
            f"`batch` {options.batch}: {original.source} does not run on so many samples: {reason}; "
            "leave it out"
        )
    if reason:  # some models take any number of samples by name only
        _log.info("timed on the samples of whole runs: %s", reason)
        sized, batch = chosen, None
    threads = options.threads or 1
    return Stopwatch(tuple(sized), batch, threads, subject.providers[0], options.custom_ops)


def _why_not(session: Session, feeds: Sequence[Feeds]) -> str:
    """Return why a model does not run, "" where it does."""
    try:
        for feed in feeds:
            session.run(feed)
    except (CalibrationError, ModelError) as error:
        return error.finding
    return ""
