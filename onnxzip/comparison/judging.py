"""What a tool's model loses: it answers in a process of its own, and is compared here."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

from onnxzip.inputs.feedset import FeedSet
from onnxzip.measure.outputs.recorded_outputs import run_all
from onnxzip.measure.subject import Sample, Subject
from onnxzip.prove.drift import check_outputs, worst_of
from onnxzip.prove.origin import doubted
from onnxzip.records.check import Check
from onnxzip.runtime.apart import Limits, collect_apart
from onnxzip.runtime.loadable import LoadableModel
from onnxzip.runtime.outputs import Outputs
from onnxzip.runtime.session import open_session


class Judge:
    """Compares models with the original on some of its inputs.

    Args:
        subject: the original.
        samples: what to compare on; the worst of them counts.
        limits: what a model may use for all its runs.
    """

    def __init__(self, subject: Subject, samples: Sequence[Sample], limits: Limits) -> None:
        self._custom_ops, self._doubts = subject.custom_ops, subject.doubts
        self._samples, self._limits = samples, limits

    def check(self, model: Path) -> Check:
        """Return what a model loses.

        Raises:
            OnnxzipError: it does not load, or fails.
            LostProcessError: it takes more than it may, or ends the process that runs it.
        """
        sets = [sample.feeds for sample in self._samples]
        source = LoadableModel(model, model.name)
        answers = iter(collect_apart(self._limits, answer, source, sets, self._custom_ops))
        checks = [
            check_outputs(
                sample.reference,
                islice(answers, len(sample.feeds)),
                sample.feeds,
                sample.metric,
                sample.statistics,
            )
            for sample in self._samples
        ]
        return doubted([worst_of(checks, self._samples)], self._doubts)[0]


def answer(source: LoadableModel, sets: Sequence[FeedSet], custom_ops: Path | None) -> Iterator[Outputs]:
    """Yield what a model answers to several sets of inputs: a task for a process of its own."""
    with open_session(source, custom_ops=custom_ops) as session:
        for feeds in sets:
            yield from run_all(session, feeds)
