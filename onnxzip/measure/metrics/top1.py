"""Answers: the share that changes, or with labels the drop in accuracy; both as a fraction."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from onnxzip.errors import CalibrationError
from onnxzip.measure.margins import are_probabilities, centred, margins_of
from onnxzip.measure.metric import Metric, SumMetric
from onnxzip.measure.outputs.running_sums import OutputSums, Pair, Runs
from onnxzip.measure.score_error import ScoreError
from onnxzip.records.aliases import Array
from onnxzip.runtime.outputs import Outputs


@dataclass(frozen=True, eq=False)
class Top1(SumMetric):
    """The share of changed answers, or the drop in accuracy.

    Attributes:
        output: the output that is about classes; found by `prepare`.
        n_right: answers of the reference that are its labels'.
    """

    name: ClassVar[str] = "top1"
    default_limit: ClassVar[float] = 0.01
    summary: ClassVar[str] = "drop in accuracy with --labels, else share of changed answers"
    takes_labels: ClassVar[bool] = True
    counts_events: ClassVar[bool] = True
    unit: ClassVar[str] = "pt"
    scale: ClassVar[float] = 100.0
    n_decimals: ClassVar[int | None] = 2
    output: str = ""
    n_right: int = 0

    def prepare(self, reference: Runs) -> Self:
        """Find the output with the answers, and see whether the labels fit them; once is enough.

        Raises:
            CalibrationError: no output has answers, or the labels do not fit.
        """
        first = None if self.output else next(iter(reference), None)
        if first is None:
            return self
        found = replace(self, output=scores_name(first))
        return found if self.labels is None else found._fit_labels(reference, self.labels)

    def compared(self, before: Outputs, after: Outputs) -> Iterable[str]:
        """Return the one output with the answers."""
        return (self.output,)

    def view(self, array: Array, n_rows_before: int) -> Array:
        """Return the answers, or with labels 1.0 where they are right and 0.0 elsewhere."""
        found = answers(array)
        if self.labels is None:
            return found
        is_right = found == self.labels[n_rows_before : n_rows_before + len(found)]
        return np.asarray(is_right, np.float64)

    def terms(self, pair: Pair) -> tuple[Array, Array]:
        """Return the right answers that become wrong, less the wrong ones that become right, and 1."""
        return pair.before - pair.after, pair.is_used

    def note(self, sums: OutputSums) -> str:
        """Return the accuracies."""
        if self.labels is None or sums.finding:
            return sums.note
        lost, n = (sum(float(part.sum()) for part in parts) for parts in (sums.above, sums.below))
        before, after = self.n_right / max(n, 1), (self.n_right - lost) / max(n, 1)
        return f"accuracy {before:.4f} to {after:.4f}"

    def guide(self, known: Sequence[tuple[Runs, Metric]]) -> ScoreError | None:
        """Return the error of the scores, held to where answers are expected to reach the limit."""
        runs = [np.asarray(run[self.output]) for reference, _ in known for run in reference]
        if not 0 < self.limit < math.inf or runs[0].dtype.kind != "f":
            return None
        axis = _class_axis(runs[0])
        scores = [np.moveaxis(run, axis, -1) for run in runs]
        are_shares = all(are_probabilities(run) for run in scores)
        labels = [metric.labels for _, metric in known if metric.labels is not None]
        found = margins_of(
            [centred(run, from_probabilities=are_shares) for run in scores],
            np.concatenate(labels) if labels else None,
        )
        error = found.error_at(self.limit) if found else 0.0
        if found is None or not error > 0:
            return None
        return ScoreError(
            error,
            output=self.output,
            axis=axis,
            deviation=found.deviation,
            from_probabilities=are_shares,
        )

    def _fit_labels(self, reference: Runs, labels: NDArray[np.int64]) -> Self:
        n_answers = n_right = 0
        for run in reference:
            found = answers(run[self.output])
            part = labels[n_answers : n_answers + len(found)]
            if part.shape != found.shape:
                raise CalibrationError(
                    f"`labels` of shape {labels.shape} do not fit the answers in output "
                    f"{self.output!r}, {found.shape} a run; pass one label per answer"
                )
            _check_classes(part, self.output, run[self.output])
            n_answers += len(found)
            n_right += int(np.count_nonzero(found == part))
        if n_answers != len(labels):
            raise CalibrationError(
                f"`labels`: {len(labels)} labels for {n_answers} answers; pass one per sample"
            )
        return replace(self, n_right=n_right)


def _check_classes(labels: NDArray[np.int64], name: str, scores: Array) -> None:
    if scores.dtype.kind != "f" or labels.size == 0:
        return
    n_classes = scores.shape[_class_axis(scores)]
    if labels.max() >= n_classes:
        raise CalibrationError(
            f"`labels`: label {labels.max()}, but output {name!r} has {n_classes} classes (they count "
            "from 0); pass the labels of this model"
        )


def _class_axis(array: Array) -> int:
    return 2 if array.ndim == 3 else 1  # (n, tokens, classes); (n, classes); (n, classes, h, w)


def scores_name(outputs: Outputs) -> str:
    """Return the output that top1 is about: the first with class scores, else with answers."""
    for name, array in outputs.items():
        if array.dtype.kind == "f" and array.ndim > 1 and array.shape[_class_axis(array)] > 1:
            return name
    for name, array in outputs.items():
        if array.dtype.kind in "iuUSO" and array.ndim:
            return name
    raise CalibrationError("`metric` top1: no output holds class scores or answers; use another metric")


def n_classes_of(array: Array) -> int:
    """Return how many classes scores are of; 0 for answers, which do not say."""
    return array.shape[_class_axis(array)] if array.dtype.kind == "f" else 0


def answers(array: Array) -> Array:
    """Return the class with the highest score, or the answers themselves where these are no scores."""
    if array.dtype.kind != "f":
        return array
    axis = _class_axis(array)
    # A NaN wins no class.
    return np.where(np.isnan(array).any(axis=axis), -1, np.argmax(array, axis=axis))
