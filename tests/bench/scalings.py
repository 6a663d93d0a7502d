"""Prints how the first layers of image models answer to photographs under each scaling.

    python -m tests.bench.scalings MODEL...

A row a model: the distance of `onnxzip.inputs.generated.scalings` under each scaling, in bold where it
is plausible. What a model really takes is not known to the bench; the package it comes from tells.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from onnxzip.errors import OnnxzipError
from onnxzip.graph import loadable, read_model
from onnxzip.graph.reading.model import Model
from onnxzip.inputs.axes import channel_axis
from onnxzip.inputs.generated.runnable import runnable_families
from onnxzip.inputs.generated.scalings import SCALINGS, Answer, distance, plausible_scalings
from onnxzip.inputs.generated.sources.photographs import photographs
from onnxzip.measure.first_answers import first_answers
from onnxzip.records.aliases import Feeds
from onnxzip.runtime.session import open_session

N_PICTURES = 16


def with_pictures(feeds: list[Feeds], name: str, pictures: np.ndarray) -> list[Feeds]:
    """Return feeds with pictures, (n, channels, height, width), in an input's place."""
    is_first = channel_axis(feeds[0][name].shape) == 1
    values = (pictures if is_first else np.moveaxis(pictures, 1, 3)).astype(np.float32)
    parts = np.split(values, len(feeds))
    return [{**feed, name: part} for feed, part in zip(feeds, parts, strict=True)]


def answers_of(model: Model) -> dict[str, list[Answer]]:
    """Return what the first layers answer to photographs, by scaling; {} without a picture."""
    with open_session(loadable(model)) as session:
        feeds = list(runnable_families(session, seed=0, n_samples=N_PICTURES)[0])
        floats = [spec.name for spec in session.inputs if spec.dtype == np.float32]
    name = next((name for name in floats if channel_axis(feeds[0][name].shape) is not None), None)
    if name is None:
        return {}
    shape = feeds[0][name].shape
    axis = channel_axis(shape)
    height, width = shape[2:] if axis == 1 else shape[1:3]
    n = len(feeds) * shape[0]
    pictures = photographs(n, shape[axis], height, width, np.random.default_rng(0))
    runs = {s.name: with_pictures(feeds, name, s.apply(pictures)) for s in SCALINGS}
    black = {**feeds[0], name: np.zeros_like(feeds[0][name])}
    return first_answers(model, None, name, runs, black)


def row(model: str) -> str:
    """Return a model's row."""
    try:
        answers = answers_of(read_model(Path(model)))
    except OnnxzipError as error:
        return f"| {model} | {error} |"
    if not answers:
        return f"| {model} | no picture |"
    plausible = plausible_scalings(answers)
    layers = next(iter(answers.values()))
    is_known = any(answer.normalised is not None for answer in layers)
    distances = {name: f"{distance(found):.2f}" for name, found in answers.items()}
    cells = [f"**{far}**" if name in plausible else far for name, far in distances.items()]
    evidence = f"{len(layers)} {'statistics' if is_known else 'bias'}"
    return f"| {Path(model).name} | {evidence} | {' | '.join(cells)} |"


def main(models: list[str]) -> int:
    """Print the table."""
    print(f"| model | evidence | {' | '.join(scaling.name for scaling in SCALINGS)} |")
    print("|---|---|" + "---|" * len(SCALINGS))
    for model in models:
        print(row(model), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
