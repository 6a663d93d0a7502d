"""Hands a model to onnxruntime: the light proto as bytes, its arrays beside it.

onnxruntime copies arrays that it is handed in memory, and reads those in files where they are. So large
arrays that lie in files of ours already are handed over by the places that they have there.
"""

from __future__ import annotations

import onnx

from onnxzip.disk.own_copy import position_of
from onnxzip.graph.reading.model import Model
from onnxzip.runtime.loadable import InFiles, LoadableModel

_MIN_BYTES = 1 << 26
"""Of float arrays in files: a session on less takes no more than a run on any model does, and in memory
kernels may pack their weights, as in users' sessions, where quantised ones compute in another way."""


def loadable(model: Model) -> LoadableModel:
    """Return a model as onnxruntime takes it; its arrays are shared, not copied."""
    return LoadableModel(model.serialized(), model.source, dict(model.arrays), _in_files(model))


def _in_files(model: Model) -> InFiles | None:
    """Return the model with the places of its arrays in files of ours; None where they are few."""
    places = {name: place for name, a in model.arrays.items() if (place := position_of(a)) is not None}
    arrays = [model.arrays[name] for name in places]
    n_float_bytes = sum(array.nbytes for array in arrays if array.dtype.kind not in "iub")
    if n_float_bytes < max(_MIN_BYTES, sum(array.nbytes for array in arrays) / 2):
        return None
    proto = onnx.ModelProto()
    proto.CopyFrom(model.proto)
    for tensor in proto.graph.initializer:
        if tensor.name in places:
            file, start = places[tensor.name]
            n_bytes = model.arrays[tensor.name].nbytes
            del tensor.external_data[:]
            values = {"location": file.name, "offset": str(start), "length": str(n_bytes)}
            for key, value in values.items():
                tensor.external_data.add(key=key, value=value)
    files = {file.name: file for file, _ in places.values()}
    return InFiles(proto.SerializeToString(deterministic=True), frozenset(places), tuple(files.values()))
