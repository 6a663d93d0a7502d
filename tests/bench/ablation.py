"""Compresses CIFAR-10 classifiers with each part of onnxzip switched off, to say what it is worth.

    python -m tests.bench.ablation FOLDER MODEL... -- 0.2

FOLDER holds cifar10.npz (see tests.bench.cifar); the number behind -- is the tolerance. "worth" is by
how many percent the file grows without the part. The test images only give the accuracies.
"""

from __future__ import annotations

import contextlib
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
from onnxzip.passes import _lowrank_projected

import onnxzip
from onnxzip.choose import sensitivity as probing
from onnxzip.choose.refitting import refit, regression
from onnxzip.codec import feedback, layer_feedback
from onnxzip.codec import variable_rate as quantize
from onnxzip.codec.coding import code_plan as plans
from onnxzip.codec.coding import contexts, encoder
from onnxzip.measure.moments import second_moments as statistics
from onnxzip.propose import ladders
from onnxzip.records.plan import Rounding
from tests.bench.cifar import accuracy, feed_of
from tests.bench.command import split

_MAKE_FEEDBACK = feedback.make_feedback


def _one_step_per_layer(*arguments: Any) -> Any:
    made = _MAKE_FEEDBACK(*arguments)
    return made and replace(made, outer=np.zeros_like(made.outer), inner=np.zeros_like(made.inner))


@contextlib.contextmanager
def _with_feedback_by(make: Callable[..., Any]) -> Iterator[None]:
    with (
        mock.patch.object(layer_feedback, "make_feedback", make),
        mock.patch.object(_lowrank_projected, "make_feedback", make),
    ):
        yield


@contextlib.contextmanager
def _with_little_damping() -> Iterator[None]:
    with (
        mock.patch.object(statistics, "noise_share", return_value=0.0),
        mock.patch.object(regression, "noise_share", return_value=0.0),
    ):
        yield


def _one_context(arrays: Any) -> contexts.Contexts:
    return contexts.Contexts(np.zeros(sum(len(array) for array in arrays), np.int64), 0.0)


def _by_error_alone(_: Any, candidates: Any) -> Any:
    return ((name, candidate.error) for name, candidate in candidates.items())


PARTS: Mapping[str, Callable[[], AbstractContextManager[Any]]] = {
    "error feedback": lambda: _with_feedback_by(lambda *_: None),
    "a step for each column": lambda: _with_feedback_by(_one_step_per_layer),
    "damping by the number of vectors": _with_little_damping,
    "rounding by rate and distortion": lambda: mock.patch.object(quantize, "BIT_PRICE", 0.0),
    "refits of weights and biases": lambda: mock.patch.object(refit.Refitter, "is_able", False),
    "refits of biases": lambda: mock.patch.object(
        regression.PlanRefit, "_shift_bias", return_value=None
    ),
    "measured sensitivities": lambda: mock.patch.object(probing.Prober, "_measure", _by_error_alone),
    "rates between rates": lambda: mock.patch.object(ladders, "with_midpoints", lambda ladder: ladder),
    "small tensors in 8 bits": lambda: mock.patch.object(
        probing.Prober, "choose_rounding", return_value=Rounding()
    ),
    "contexts": lambda: mock.patch.object(encoder, "find_contexts", _one_context),
    "overlays": lambda: mock.patch.object(plans, "_OVERLAY_BITS", float("inf")),
}
PASSES = ("scalar", "dct", "wavelet", "lowrank", "codebook")


def runs() -> Iterator[tuple[str, AbstractContextManager[Any], tuple[str, ...]]]:
    """Yield what is switched off, what does that, and the passes to skip."""
    yield "nothing", contextlib.nullcontext(), ()
    for name, patch in PARTS.items():
        yield name, patch(), ()
    for name in PASSES:
        yield f"pass {name}", contextlib.nullcontext(), (name,)


def main(arguments: list[str]) -> int:
    """Print one table a model."""
    (folder, *models), (tolerance,) = split(arguments)
    data = np.load(Path(folder) / "cifar10.npz")
    test, labels = feed_of(data["test"]), data["test_labels"]
    calibration = {"input": feed_of(data["calibration"])}
    for model in map(Path, models):
        print(f"\n{model.name}, tolerance {tolerance}\n")
        print("| without | bytes | ratio | worth | top-1 | seconds |\n|---|---|---|---|---|---|")
        whole = 0
        for name, patch, skip in runs():
            with tempfile.TemporaryDirectory() as work, patch:
                output = Path(work) / "out.onnx"
                settings = {"tolerance": float(tolerance), "skip": skip}
                report = onnxzip.compress(model, output, calibration=calibration, **settings).report
                top1 = accuracy(output, test, labels)
            whole = whole or report.bytes_after
            worth = f"{100 * (report.bytes_after / whole - 1):+.1f} %"
            cells = (f"{report.bytes_after:,}", f"{report.ratio:.2f}x", worth, f"{top1:.2f}")
            print("|", " | ".join((name, *cells, f"{report.seconds:.0f}")), "|", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
