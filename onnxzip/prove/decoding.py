"""What the runtime has to do to decode weights: one piece of the decoder after the other."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from onnxzip.graph import (
    Model,
    claims_of,
    decoded_shapes,
    decoded_types,
    loadable,
    piece_model,
    pieces_of,
    widen_outputs,
)
from onnxzip.records.aliases import Array
from onnxzip.runtime.survival import Step


def decode_steps(model: Model, n_nodes: int) -> list[Step]:
    """Return what is to be run for all values that the first `n_nodes` nodes of a model decode.

    Raises:
        ModelError: the nodes are no decoder of ours.
    """
    values, types = claims_of(model, n_nodes).values, decoded_types(model, n_nodes)
    return [
        Step(
            source=loadable(_widened(piece_model(model, piece, values))),
            fed=piece.fed,
            shapes={name: values[name].shape for name in piece.outputs},
            given={name: types[name] for name in piece.decoded},
            kept=piece.shared,
            spent=piece.spent,
        )
        for piece in pieces_of(model, n_nodes)
    ]


def _widened(piece: Model) -> Model:
    """Return a piece that gives narrow numbers as float32; onnxruntime's Python reads none."""
    widen_outputs(piece)
    return piece


def decoded_arrays(
    model: Model, n_nodes: int, pieces: Iterable[Mapping[str, Array]]
) -> dict[str, Array]:
    """Return the decoded values whose bytes the steps gave, in the order of the nodes: views of them."""
    types, shapes = decoded_types(model, n_nodes), decoded_shapes(model, n_nodes)
    found = {name: numbers for piece in pieces for name, numbers in piece.items()}
    return {name: found[name].view(types[name]).reshape(shape) for name, shape in shapes.items()}
