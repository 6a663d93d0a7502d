"""Shows what a file does, beside its proof: samples with both models' answers, and how it loads."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from onnxzip.graph import Model, loadable, release_pages
from onnxzip.inputs.feedset import FeedSet
from onnxzip.measure.subject import Sample, Subject
from onnxzip.prove.decoded_files import Apart
from onnxzip.prove.looks import look_at
from onnxzip.records.aliases import Array
from onnxzip.records.check import Check
from onnxzip.report.example import Example, Shown
from onnxzip.report.record import LoadSeconds, Report
from onnxzip.runtime.own_fault import own_fault
from onnxzip.runtime.session import Session, open_session

_MOST_SHOWN = 4
"""Inputs, and outputs, of a sample that are shown: a page holds three samples."""

_MOST_TIMES, _TIMED_SECONDS = 3, 0.3
"""Sessions that are created to tell how long one takes, where they do not take long: the least counts,
as other work of the machine only adds to it."""

_RANKS = ("the median sample", "one in twenty loses more", "the sample that loses most")


@dataclass(frozen=True)
class Demonstration:
    """Samples with both models' answers, and how long sessions take to be created."""

    examples: tuple[Example, ...] = ()
    load_seconds: LoadSeconds | None = None

    def added_to(self, report: Report, command: str, config: str = "") -> Report:
        """Return a report with this in it, and what repeats it: a command, and a file of options."""
        found = replace(report, examples=self.examples, load_seconds=self.load_seconds)
        return replace(found, command=command, config=config)


@dataclass(frozen=True)
class _Place:
    """A sample in a set of feeds: its run, its row there, and why it is shown."""

    sample: int
    run: int
    row: int
    rank: str
    loss: float | None


def demonstrate(
    original: Model,
    compressed: Model,
    subject: Subject,
    checks: Sequence[Check],
    apart: Apart | None = None,
    *,
    is_file: bool = True,
) -> Demonstration:
    """Run both models, on the CPU, on samples that stand for the loss that was found.

    Args:
        original: the model as it was read.
        compressed: the file, or what answers for it.
        subject: what the verdict is about.
        checks: the proof, which says how the loss is spread over samples.
        apart: runs the file where that may be anybody's.
        is_file: whether `compressed` is the file, so that its sessions tell how the file loads.
    """
    drift = next((check for check in checks if check.kind == "drift"), None)
    if drift is None:
        return Demonstration()
    sample = _judged(subject, drift)
    places = _places(sample.feeds, drift)
    leads = [_lead(sample.feeds, place) for place in places]
    rows = [place.row for place in places]
    before, answers = _timed_answers(original, subject.custom_ops, leads, rows)
    release_pages(original.arrays.values())
    if apart is None:
        with own_fault(original.source):
            after, others = _timed_answers(compressed, subject.custom_ops, leads, rows)
    else:
        after, others = apart.run(_timed_answers, compressed, subject.custom_ops, leads, rows)
    examples = map(_example, [sample.feeds] * len(places), places, answers, others)
    return Demonstration(tuple(examples), LoadSeconds(before, after) if is_file else None)


def _judged(subject: Subject, drift: Check) -> Sample:
    """Return the family of inputs that the loss was stated on."""
    families = [s for s in subject.samples if drift.by_family.get(s.feeds.family) == drift.value]
    return families[0] if families else subject.samples[0]


def _places(feeds: FeedSet, drift: Check) -> list[_Place]:
    """Return the samples to show, each once: by their loss where that is known, else the first ones."""
    spread = drift.per_sample
    if spread is None or not spread.places:
        return [_place(feeds, i, "one of the first samples", None) for i in range(feeds.n_samples)[:3]]
    losses = (spread.median, spread.quantile_95, spread.worst)
    found: dict[int, _Place] = {}
    for sample, rank, loss in zip(spread.places, _RANKS, losses, strict=True):
        found[sample] = _place(feeds, sample, rank, loss)
    return list(found.values())


def _place(feeds: FeedSet, sample: int, rank: str, loss: float | None) -> _Place:
    run, first = 0, 0
    while first + feeds.sizes[run] <= sample:
        first, run = first + feeds.sizes[run], run + 1
    return _Place(sample, run, sample - first, rank, loss)


def _lead(feeds: FeedSet, place: _Place) -> FeedSet:
    """Return the runs that hand their states on to a sample's, and that."""
    led = slice(place.run - place.run % feeds.n_steps, place.run + 1)
    return replace(feeds, feeds=feeds.feeds[led], sizes=feeds.sizes[led], answered=())


def _timed_answers(
    model: Model, custom_ops: Path | None, leads: Sequence[FeedSet], rows: Sequence[int]
) -> tuple[float, list[dict[str, Array]]]:
    """Return how many seconds the session takes to be created, and what it answers to each sample."""
    source, times = loadable(model), list[float]()
    while True:
        started = time.perf_counter()
        with open_session(source, custom_ops=custom_ops) as session:
            times.append(time.perf_counter() - started)
            if sum(times) > _TIMED_SECONDS or len(times) == _MOST_TIMES:
                led = zip(leads, rows, strict=True)
                return min(times), [_answer(session, lead, row) for lead, row in led]


def _answer(session: Session, lead: FeedSet, row: int) -> dict[str, Array]:
    """Return the outputs of one sample of the last run."""
    *_, outputs = lead.answers(session.run)
    return _rows(outputs, lead.sizes[-1], row)


def _rows(arrays: Mapping[str, Array], n_samples: int, row: int) -> dict[str, Array]:
    """Return one sample's part of each array of a run; the whole of what has no axis for samples."""
    return {
        name: np.asarray(array[row], array.dtype)  # a text alone is no array
        if array.ndim and len(array) == n_samples
        else array
        for name, array in arrays.items()
    }


def _example(
    feeds: FeedSet, place: _Place, original: Mapping[str, Array], compressed: Mapping[str, Array]
) -> Example:
    fed = _rows(feeds.feeds[place.run], feeds.sizes[place.run], place.row)
    kept = {name: array for name, array in original.items() if name not in feeds.states}
    data = {name: array for name, array in fed.items() if name not in feeds.carried} or fed
    inputs = [look_at(name, array) for name, array in list(data.items())[:_MOST_SHOWN] if array.size]
    outputs: list[Shown] = []
    for name, array in list(kept.items())[:_MOST_SHOWN]:
        other = compressed.get(name)
        if array.size and other is not None and other.shape == array.shape:
            outputs.append(look_at(name, array, other))
    n_left_out = len(data) + len(kept) - len(inputs) - len(outputs)
    return Example(place.sample, place.rank, place.loss, tuple(inputs), tuple(outputs), n_left_out)
