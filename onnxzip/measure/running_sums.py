"""How far two models' outputs are apart, accumulated over runs; `metrics` says what the figures mean."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from onnxzip.errors import CalibrationError
from onnxzip.records.aliases import Array
from onnxzip.runtime.outputs import Outputs

Runs = Iterable[Outputs]


@dataclass(frozen=True)
class Deviation:
    """A distance, the output it comes from, and what a reader must know about it."""

    value: float
    output: str = ""
    note: str = ""


def exact_deviation(reference: Runs, outputs: Runs) -> Deviation:
    """Return the worst |a - b| / |a| over float outputs and share of differing elements over others."""
    return measure_sums(zip(reference, outputs, strict=True), relative, higher_is_better=False)


@dataclass
class OutputSums:
    """Running sums over one output."""

    is_float: bool
    peak: float | None = None
    n: int = 0
    n_unequal: int = 0
    n_ignored: int = 0
    squared_error: float = 0.0
    squared_norm: float = 0.0
    low: float = math.inf
    high: float = -math.inf
    finding: str = ""

    def add(self, name: str, a: Array | None, b: Array | None) -> None:
        """Add one run's arrays of the output; None where a model did not give it."""
        if a is None or b is None or a.shape != b.shape:
            shapes = " to ".join("none" if array is None else str(array.shape) for array in (a, b))
            self.finding = f"output {name!r} changes its shape from {shapes}"
            return
        self.n += a.size
        if a.dtype.kind not in "fiub":
            self.n_unequal += int(np.count_nonzero(a != b))
            self.squared_error = math.inf if self.n_unequal else 0.0
            return
        x, y, n_ignored = _comparable(a, b)
        self.n_ignored += n_ignored
        if not (np.isfinite(x).all() and np.isfinite(y).all()):
            self.finding = f"output {name!r} has NaN or Inf in one model only"
            return
        self.n_unequal += int(np.count_nonzero(x != y))
        self.squared_error += float(np.sum((x - y) ** 2))
        self.squared_norm += float(np.sum(x**2))
        if x.size:
            self.low, self.high = min(self.low, float(x.min())), max(self.high, float(x.max()))


def relative(sums: OutputSums) -> float:
    """Return |y - y'| / |y|, or the share of differing elements."""
    if sums.finding:
        return math.inf
    if not sums.is_float:
        return sums.n_unequal / max(sums.n, 1)
    if sums.squared_error == 0:
        return 0.0
    return math.sqrt(sums.squared_error / sums.squared_norm) if sums.squared_norm else math.inf


def psnr(sums: OutputSums) -> float:
    """Return the peak signal-to-noise ratio in dB."""
    if sums.finding:
        return -math.inf
    if sums.squared_error == 0:
        return math.inf
    peak = sums.high - sums.low if sums.peak is None else sums.peak
    mean = sums.squared_error / (sums.n - sums.n_ignored)
    return 10 * math.log10(peak**2 / mean) if peak > 0 and math.isfinite(mean) else -math.inf


def measure_sums(
    pairs: Iterable[tuple[Outputs, Outputs]],
    value: Callable[[OutputSums], float],
    higher_is_better: bool,
) -> Deviation:
    """Return the worst output's value, where `value` turns its sums into one number."""
    sums: dict[str, OutputSums] = {}
    for reference, outputs in pairs:
        for name in {**reference, **outputs}:
            a, b = reference.get(name), outputs.get(name)
            first = b if a is None else a
            if name not in sums and first is not None:
                sums[name] = OutputSums(
                    first.dtype.kind == "f", 255.0 if first.dtype == np.uint8 else None
                )
            sums[name].add(name, a, b)
    values = {name: value(s) for name, s in sums.items()}
    notes = {name: s.finding or _ignored_note(name, s.n_ignored) for name, s in sums.items()}
    return _worst(values, notes, higher_is_better)


def measure_cosine(pairs: Iterable[tuple[Outputs, Outputs]]) -> Deviation:
    """Return the worst output's mean of 1 - cos over samples."""
    totals: dict[str, tuple[float, int]] = {}
    notes: dict[str, str] = {}
    for reference, outputs in pairs:
        for name in {**reference, **outputs}:
            sums = OutputSums(is_float=False)
            a, b = reference.get(name), outputs.get(name)
            sums.add(name, a, b)
            notes[name] = notes.get(name) or sums.finding or _ignored_note(name, sums.n_ignored)
            if sums.finding or a is None or b is None:
                losses = np.array([math.inf])
            elif a.dtype.kind != "f":
                losses = np.array([sums.n_unequal / max(sums.n, 1)])
            else:
                losses = cosine_losses(a, b)
            total, n = totals.get(name, (0.0, 0))
            totals[name] = (total + float(losses.sum()), n + len(losses))
    return _worst({name: total / max(n, 1) for name, (total, n) in totals.items()}, notes, False)


def cosine_losses(a: Array, b: Array) -> NDArray[np.float64]:
    """Return 1 - cos of each row; an output of one number a sample is taken as one vector."""
    n_rows = len(a) if a.ndim > 1 and a.size > len(a) else 1
    x, y = (np.nan_to_num(v.astype(np.float64), posinf=0, neginf=0).reshape(n_rows, -1) for v in (a, b))
    norms = np.linalg.norm(x, axis=1) * np.linalg.norm(y, axis=1)
    is_same = (x == y).all(axis=1)
    cosines = np.divide(np.sum(x * y, axis=1), norms, out=np.zeros(n_rows), where=norms > 0)
    return np.where(is_same, 0.0, 1.0 - np.minimum(cosines, 1.0))


def measure_top1(
    pairs: Iterable[tuple[Outputs, Outputs]], labels: NDArray[np.int64] | None
) -> Deviation:
    """Return the share of changed answers, or with labels the drop in accuracy."""
    name = ""
    n = n_changed = n_right_before = n_right_after = n_samples = 0
    for reference, outputs in pairs:
        name = name or scores_name(reference)
        before, after = (answers(run.get(name)) for run in (reference, outputs))
        if before.shape != after.shape:
            return Deviation(math.inf, name, f"output {name!r} changes its shape")
        n += before.size
        n_changed += int(np.count_nonzero(before != after))
        if labels is not None:
            part = labels[n_samples : n_samples + len(before)]
            if part.shape != before.shape:
                raise CalibrationError(
                    f"`labels` of shape {labels.shape} do not fit the answers in output {name!r}, "
                    f"{before.shape} a run; pass one label per answer"
                )
            _check_labels(part, name, reference[name])
            n_right_before += int(np.count_nonzero(before == part))
            n_right_after += int(np.count_nonzero(after == part))
        n_samples += len(before)
    if labels is None:
        return Deviation(n_changed / max(n, 1), name)
    if n_samples != len(labels):
        raise CalibrationError(
            f"`labels`: {len(labels)} labels for {n_samples} answers; pass one per sample"
        )
    note = f"accuracy {n_right_before / max(n, 1):.4f} to {n_right_after / max(n, 1):.4f}"
    return Deviation((n_right_before - n_right_after) / max(n, 1), name, note)


def _check_labels(labels: NDArray[np.int64], name: str, scores: Array) -> None:
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


def answers(array: Array | None) -> Array:
    """Return the class with the highest score, or the answers themselves where these are no scores."""
    if array is None:
        return np.zeros((0,), np.int64)
    if array.dtype.kind != "f":
        return array
    axis = _class_axis(array)
    # A NaN wins no class.
    return np.where(np.isnan(array).any(axis=axis), -1, np.argmax(array, axis=axis))


def _comparable(a: Array, b: Array) -> tuple[NDArray[np.float64], NDArray[np.float64], int]:
    """Return both as flat float64 without the places where both are the same NaN or Inf."""
    x, y = a.astype(np.float64).ravel(), b.astype(np.float64).ravel()
    if np.isfinite(x).all():
        return x, y, 0
    is_ignored = (np.isnan(x) & np.isnan(y)) | (np.isinf(x) & (x == y))
    return x[~is_ignored], y[~is_ignored], int(np.count_nonzero(is_ignored))


def _ignored_note(name: str, n_ignored: int) -> str:
    return (
        f"output {name!r}: {n_ignored} NaN or Inf values, the same in both, left out"
        if n_ignored
        else ""
    )


def _worst(values: dict[str, float], notes: dict[str, str], higher_is_better: bool) -> Deviation:
    if not values:
        return Deviation(math.inf if higher_is_better else 0.0)
    name = (min if higher_is_better else max)(values, key=lambda key: values[key])
    return Deviation(values[name], name if len(values) > 1 else "", notes[name])
