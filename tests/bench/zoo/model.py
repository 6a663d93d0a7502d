"""What a model of the zoo is, how it is run in use, and how far the answers of two files are apart."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
import onnxruntime as ort

Feeds = dict[str, np.ndarray]


@dataclass(frozen=True)
class Model:
    """A model of a package.

    Attributes:
        name: What the bench's table calls it.
        kind: What it reads: sound, spectrogram, states, text or image.
        split: Who may look at it: see tests.bench.unseen.
        file: Where it lies in the folder of the unpacked packages; may hold wildcards.
        inputs: Makes its real inputs from that folder: sequences of steps, of one step where the model
            carries nothing from one to the next.
        carried: Output by input: what the model hands to its next step.
        figure: Says what users of it would measure, given the folder and the files before and after.
    """

    name: str
    kind: str
    split: Literal["dev", "seen", "held"]
    file: str
    inputs: Callable[[Path], list[list[Feeds]]]
    carried: Mapping[str, str] = field(default_factory=dict)
    figure: Callable[[Path, Path, Path], str] | None = None


def session_of(file: Path) -> ort.InferenceSession:
    """Return a session of one thread, so that two files differ by their weights alone."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    return ort.InferenceSession(file, options)


def answers(file: Path, model: Model, sequences: list[list[Feeds]]) -> dict[str, list[np.ndarray]]:
    """Run a file as it is used and return, by output, the answer to each step.

    What the model carries comes from the same file's own steps, so that errors add up as they do in use.
    """
    session = session_of(file)
    names = [node.name for node in session.get_outputs()]
    found: dict[str, list[np.ndarray]] = {name: [] for name in names}
    for sequence in sequences:
        handed: Feeds = {}
        for feeds in sequence:
            step = dict(zip(names, session.run(names, {**feeds, **handed}), strict=True))
            handed = {taken: step[given] for taken, given in model.carried.items()}
            for name, value in step.items():
                found[name].append(value)
    return {name: parts for name, parts in found.items() if parts[0].dtype.kind == "f"}


def samples_of(parts: list[np.ndarray]) -> np.ndarray:
    """Return one row a sample, float64: a run, or a position where the runs' shapes differ."""
    if len({part.shape for part in parts}) == 1:
        return np.stack(parts).reshape(len(parts), -1).astype(np.float64)
    width = parts[0].shape[-1] if len({part.shape[-1] for part in parts}) == 1 else 1
    return np.concatenate([part.reshape(-1, width) for part in parts]).astype(np.float64)


def nrmse(parts: list[np.ndarray], other: list[np.ndarray]) -> float:
    """Return |y - y'| / |y - mean over samples|; inf where not finite, nan where y is constant."""
    first, second = samples_of(parts), samples_of(other)
    spread = np.linalg.norm(first - first.mean(axis=0))
    error = np.linalg.norm(first - second)
    if not np.isfinite(error):
        return float("inf")
    return float(error / spread) if spread > 0 else float("nan")
