"""Hands a model to onnxruntime: the light proto as bytes, its arrays beside it."""

from __future__ import annotations

from onnxzip.graph.reading.model import Model
from onnxzip.runtime.loadable import LoadableModel


def loadable(model: Model) -> LoadableModel:
    """Return a model as onnxruntime takes it; its arrays are shared, not copied."""
    return LoadableModel(model.serialized(), model.source, dict(model.arrays))
