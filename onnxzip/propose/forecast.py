"""What compressing a model would come to, from what is cheap to measure: --dry-run.

The model is read and run as for compressing. Then its weights get noise, all of the same relative error,
and one run says what the outputs lose by it. Losses grow in proportion to small errors: that gives the
error that the tolerance allows, and the entropy of weights rounded as coarsely the bits they need
(uniform scalar quantisation: Gersho and Gray, Vector Quantization, 1992, section 9.9). What the search
gains beyond that, by transforms, by giving bits to the layers that need them, by fitting again, and how
long it takes, is known from other models only: hence ranges.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_limits

from onnxzip import graph
from onnxzip.codec.level import level
from onnxzip.graph import Model, ModelLike
from onnxzip.measure.aim import Aim
from onnxzip.measure.examination import examine, metric_of
from onnxzip.measure.subject import Subject
from onnxzip.measure.trial_session import TrialSession
from onnxzip.options import Options
from onnxzip.propose.proposal import draft_offered
from onnxzip.propose.registry import make_passes
from onnxzip.propose.structure import Draft
from onnxzip.records.aliases import Array
from onnxzip.records.elements.exact import is_exact
from onnxzip.records.layer import Layer
from onnxzip.runtime.memory.watch import watched

_ERROR = 0.1
"""Relative error of the noise: a little above what is allowed, as a rule."""

_MOST_ERROR, _LEAST_ERROR, _USUAL_ERROR = 0.5, 1e-3, 0.035
"""Of weights: beyond the first two a loss says nothing in proportion; the last where none says anything,
about the mean of nine models at nrmse 0.1."""

_SAMPLE = 1 << 20
"""Numbers of a weight that its entropy is taken of."""

_SEARCHED, _PACKED = (0.3, 0.55, 0.9), (0.6, 0.9, 1.2)
"""Bytes over the entropy, least, typical, most: of what is entropy coded (resnet20, resnet44 and the
four models in models/ 0.44 to 0.84; vgg8, much of whose weights is not needed, 0.22), and what is packed
(digits_cnn and digits_gru at -1 0.69 and 0.95, all-MiniLM-L6-v2 0.92)."""

_BYTES_OF_NODES = 150
"""Of a weight's decode nodes: a tenth of what the smallest weights take."""

_S_PER_WEIGHT, _S_PER_CODED, _S_PER_PACKED = 0.6, 22e-6, 3e-6
"""Seconds of one core for each weight, each number that is entropy coded, each that is packed: of
digits_cnn, digits_gru, resnet20, resnet44 and vgg8, whose times are met within a factor of 1.5."""

_SPREAD = 2.0
"""Of times around the estimate."""


@dataclass(frozen=True)
class Forecast:
    """What compressing a model would come to, about.

    Attributes:
        n_bytes: size of the model.
        n_weights: how many weights would be made smaller.
        n_numbers: numbers in them.
        n_left: how many others stay as they are.
        bits: about how many a number would take; None where `target_size` says what the file takes.
        n_bytes_after: least, typical and largest size to expect.
        seconds: shortest, typical and longest time to expect.
        inputs: what it would be fed.
    """

    source: str
    n_bytes: int
    n_weights: int
    n_numbers: int
    n_left: int
    bits: float | None
    n_bytes_after: tuple[int, int, int]
    seconds: tuple[float, float, float]
    inputs: str


def forecast(
    source: ModelLike,
    options: Options,
    output: Path | None = None,
    give_up: Callable[[], object] | None = None,
) -> Forecast:
    """Estimate what compressing would come to; nothing is written.

    Args:
        source: the model.
        options: what is allowed and wanted.
        output: where it would be written; None where that does not matter.
        give_up: ends the process, see `watched`; None where it is the caller's.

    Raises:
        OnnxzipError: compressing would fail before its search: see `pipeline.compress`.
    """
    began, began_cpu = time.perf_counter(), time.process_time()
    make_passes(options)
    metric_of(options)
    with threadpool_limits(1), watched(options.max_memory, give_up):
        original = graph.read_model(source)
        if output is not None:
            graph.check_output(output, options.overwrite, original, options.files)
        if options.freeze_inputs:
            graph.freeze_inputs(original.proto)
        draft = draft_offered(original, options)
        subject, _ = examine(original, options, fits=True)
        layers = draft.weights.layers
        error = _allowed_error(draft, layers, subject)
        coded = _coded(layers, options)
        sizes, bits = _sizes(draft.folded, layers, error, coded)
    spent_s, spent_cpu_s = time.perf_counter() - began, time.process_time() - began_cpu
    slowness = max(spent_s / max(spent_cpu_s, 1e-3), 1.0)
    seconds = spent_s + slowness * _seconds(layers, coded)
    goal = options.target_size
    return Forecast(
        source=original.source,
        n_bytes=original.n_bytes,
        n_weights=len(layers),
        n_numbers=sum(layer.weight.size for layer in layers),
        n_left=len({skip.layer for skip in draft.weights.skips}),
        bits=None if goal else bits,
        n_bytes_after=(goal, goal, goal) if goal else sizes,
        seconds=(seconds / _SPREAD, seconds, seconds * _SPREAD),
        inputs=subject.samples[0].feeds.note,
    )


def _allowed_error(draft: Draft, layers: Sequence[Layer], subject: Subject) -> float:
    """Return the relative error that the tolerance allows all weights."""
    floats = [layer for layer in layers if not is_exact(layer.weight.dtype)]
    aim = Aim(subject)
    if not floats or aim.tolerance is None:
        return _USUAL_ERROR
    example = subject.samples[0].feeds.feeds[0]
    trials = TrialSession(draft.folded, floats, example, subject.custom_ops)
    try:
        found = aim.outcome(trials, {layer.name: _noisy(layer, i) for i, layer in enumerate(floats)})
    finally:
        trials.close()
    if not 0 < found.loss < math.inf:
        return _USUAL_ERROR
    return min(max(_ERROR * aim.tolerance / found.loss, _LEAST_ERROR), _MOST_ERROR)


def _noisy(layer: Layer, seed: int) -> Array:
    """Return a weight with white noise of the relative error `_ERROR`, in its type."""
    weight = np.asarray(layer.weight, np.float32)
    noise = np.random.default_rng(seed).standard_normal(weight.shape, np.float32)
    noise *= _ERROR * math.sqrt(float(np.mean(np.square(weight, dtype=np.float64))))
    return (weight + noise).astype(layer.weight.dtype)


def _sizes(
    folded: Model, layers: Sequence[Layer], error: float, coded: Collection[str]
) -> tuple[tuple[int, int, int], float]:
    """Return the least, the typical and the largest size of the file, and the typical bits a number."""
    shares = {True: _SEARCHED, False: _PACKED}
    entropies = {layer.name: _entropy(layer, error) * layer.weight.size / 8 for layer in layers}
    least, typical, most = (
        sum(n_bytes * shares[name in coded][i] for name, n_bytes in entropies.items()) for i in range(3)
    )
    n_plain = graph.inline_bytes(folded)
    rest = n_plain - sum(layer.n_bytes for layer in layers)
    around = max(rest, 0) + _BYTES_OF_NODES * len(layers)
    sizes = [min(round(n_bytes + around), n_plain) for n_bytes in (least, typical, most)]
    n_numbers = sum(layer.weight.size for layer in layers)
    return (sizes[0], sizes[1], sizes[2]), 8 * typical / max(n_numbers, 1)


def _entropy(layer: Layer, error: float) -> float:
    """Return the bits of each number of a weight rounded to a relative error; integers stay exact."""
    numbers = layer.weight.reshape(-1)[:_SAMPLE]
    if not is_exact(layer.weight.dtype):
        floats = np.asarray(numbers, np.float64)
        step = error * math.sqrt(12 * float(np.mean(np.square(floats)))) or 1.0
        numbers = np.rint(floats / step).astype(np.int64)
    _, counts = np.unique(numbers, return_counts=True)
    shares = counts / counts.sum()
    return float(-(shares * np.log2(shares)).sum())


def _coded(layers: Sequence[Layer], options: Options) -> frozenset[str]:
    """Return the names of the layers that are entropy coded; the others are packed."""
    codecs = level(options.level).codecs(layers, options.load_memory)
    return frozenset(name for name, codec in codecs.items() if codec.is_continuous)


def _seconds(layers: Sequence[Layer], coded: Collection[str]) -> float:
    """Return about how many seconds of one core the search takes."""
    n_coded = sum(layer.weight.size for layer in layers if layer.name in coded)
    n_packed = sum(layer.weight.size for layer in layers) - n_coded
    return _S_PER_WEIGHT * len(layers) + _S_PER_CODED * n_coded + _S_PER_PACKED * n_packed
