"""Which scalings of an input a model was made for, by how the layers that meet it first answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from onnxzip.errors import CalibrationError, ModelError, ProviderError
from onnxzip.graph import FirstLayer, Model, loadable, with_first_layers
from onnxzip.inputs.generated.scalings import Answer, plausible_scalings
from onnxzip.records.aliases import Feeds
from onnxzip.runtime.outputs import Outputs
from onnxzip.runtime.session import open_session


def fitting_scalings(
    model: Model,
    custom_ops: Path | None,
    name: str,
    runs: Mapping[str, Sequence[Feeds]],
    black: Feeds,
) -> Sequence[str]:
    """Return the scalings that a model may have been made for, likeliest first.

    Args:
        model: the original.
        custom_ops: shared library of custom operators.
        name: of the input.
        runs: inputs of several runs, by the name of the scaling.
        black: inputs of one run, zeros in the input's place.

    Returns:
        All of them where no layer is found, or where none runs alone.
    """
    try:
        return plausible_scalings(first_answers(model, custom_ops, name, runs, black))
    except (ModelError, ProviderError, CalibrationError):
        return list(runs)


def first_answers(
    model: Model,
    custom_ops: Path | None,
    name: str,
    runs: Mapping[str, Sequence[Feeds]],
    black: Feeds,
) -> dict[str, list[Answer]]:
    """Return what the layers that meet an input first answer, by scaling; see `fitting_scalings`.

    Raises:
        InputError: the layers do not run alone.
    """
    exposed, layers = with_first_layers(model, name)
    if not layers:
        return {scaling: [] for scaling in runs}
    with open_session(loadable(exposed), optimisation="off", custom_ops=custom_ops) as session:
        dark = session.run(black)
        return {
            scaling: _answers(layers, [session.run(run) for run in some], dark)
            for scaling, some in runs.items()
        }


def _answers(layers: Sequence[FirstLayer], found: Sequence[Outputs], dark: Outputs) -> list[Answer]:
    values = {key: np.concatenate([outputs[key] for outputs in found]) for key in found[0]}
    return [
        Answer(
            pictures=values[layer.answer],
            black=dark[layer.answer],
            axis=layer.axis,
            normalised=values.get(layer.normalised),
            mean=layer.mean,
            variance=layer.variance,
        )
        for layer in layers
    ]
