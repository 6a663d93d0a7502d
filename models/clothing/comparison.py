"""The network beside what onnxzip makes of it: bytes, accuracy, answers, latency."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from numpy.typing import NDArray

import onnxzip
from models.clothing.archive import CALIBRATION, CALIBRATION_LABELS, NETWORK, read_test
from models.clothing.images import network_input
from onnxzip.report.record import Report

ORIGINAL = "original"
PASSES = ("scalar", "dct", "wavelet", "lowrank", "codebook")
ALL = "all passes"
LOOSE = "all, 0.2 nrmse"
TOP1 = "all, top-1"
SPEED = "all, for speed"
ROWS = (*PASSES, ALL, LOOSE, TOP1, SPEED)
SETTINGS: Mapping[str, Mapping[str, object]] = {
    **{name: {"passes": [name]} for name in PASSES},
    ALL: {},
    LOOSE: {"tolerance": 0.2},
    TOP1: {"metric": "top1", "tolerance": 0.01, "labels": CALIBRATION_LABELS},
    SPEED: {"objective": "speed"},
}
"""What `onnxzip.compress` is called with for a row, beside the calibration images."""
SEEDS = (0, 1, 2)
"""Of the compression; the first is that of the rows."""
N_TURNS, N_ROUNDS = 20, 30
"""For a latency: sessions that are created of each file, and runs of each session."""
BATCH = 16
"""Images in a run whose latency is measured."""


@dataclass(frozen=True)
class Outcome:
    """A row of the table.

    Attributes:
        name: ORIGINAL or one of ROWS.
        model: the file.
        logits: (images, 10), on the test images.
        report: what onnxzip states; None for the original.
    """

    name: str
    model: bytes
    logits: NDArray[np.float32]
    report: Report | None = None

    @property
    def answers(self) -> NDArray[np.int64]:
        """Classes named, (images,)."""
        return np.asarray(self.logits.argmax(axis=1))

    @property
    def stated(self) -> str:
        """What the report says was lost, on calibration images that nothing was fitted to."""
        drifts = [] if self.report is None else [c for c in self.report.checks if c.kind == "drift"]
        return "".join(f"{check.metric} {check.value:.3f}" for check in drifts[:1])


def inputs(n_kept: int | None = None) -> NDArray[np.float32]:
    """Return the test images as the network is fed them; see `images.network_input`."""
    test = read_test()
    return network_input(test.steps, test.step, n_kept)


def original() -> Outcome:
    """Return the network as it was trained."""
    model = NETWORK.read_bytes()
    return Outcome(ORIGINAL, model, logits(model, inputs()))


def compressed(name: str, seed: int = 0) -> Outcome:
    """Return what onnxzip makes of the network with the settings of a row."""
    model, report = compress(NETWORK, seed=seed, **SETTINGS[name])
    return Outcome(name, model, logits(model, inputs()), report)


def compress(source: Path | onnx.ModelProto, **settings: Any) -> tuple[bytes, Report]:
    """Return the file that onnxzip writes, with the calibration images, and its report."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "small.onnx"
        report = onnxzip.compress(source, path, calibration=CALIBRATION, **settings).report
        return path.read_bytes(), report


def accuracy(outcome: Outcome) -> float:
    """Return the share of right answers on the test images."""
    return float(np.mean(outcome.answers == read_test().labels))


def right(model: bytes, n_kept: int | None = None) -> float:
    """Return the share of right answers of a file, which may see n_kept x n_kept coefficients only."""
    answers = logits(model, inputs(n_kept)).argmax(axis=1)
    return float(np.mean(answers == read_test().labels))


def latency_ratio(before: Outcome, after: Outcome) -> float:
    """Return the time that a file takes for BATCH images on one thread, over that of another.

    They run by turns, N_ROUNDS times each, in sessions that are created anew N_TURNS times: the one
    created first is up to 5 % slower, whichever file it is, so each is the first one equally often.

    Returns:
        The median over the turns of the ratio of median times.
    """
    images = inputs()[:BATCH]
    ratios = []
    for turn in range(N_TURNS):
        files = [before.model, after.model][:: -1 if turn % 2 else 1]
        sessions = [_session(file) for file in files]
        seconds: list[list[float]] = [[], []]
        for place in [0, 1] * N_ROUNDS:
            start = time.perf_counter()
            sessions[place].run(None, {"coefficients": images})
            seconds[place].append(time.perf_counter() - start)
        first, second = (float(np.median(taken)) for taken in seconds)
        ratios.append(first / second if turn % 2 else second / first)
    return float(np.median(ratios))


def logits(model: bytes, coefficients: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return what a file answers, (images, 10), to coefficients, (images, 1, k, k)."""
    return np.asarray(_session(model).run(None, {"coefficients": coefficients})[0])


def _session(model: bytes) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
