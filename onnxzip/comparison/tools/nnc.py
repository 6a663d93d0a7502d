"""NNCodec, the reference implementation of ISO/IEC 15938-17: float weights as a bitstream of its own.

It codes tensors, not the graph. Their names are coded as well, so that short ones are given.
"""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path

import numpy as np
import onnx

from onnxzip.comparison.tools._protos import load, save
from onnxzip.comparison.tools._tool import Setting, Task, Tool
from onnxzip.records.aliases import Array

_COARSEST_QP, _FINEST_QP = -6, -60
"""A step is about 2^(qp / 4): 0.35 and 0.00003."""

_WIDER, _FINER = 9, 5
"""Where its own rule ends up beside one step for all: resnet20, resnet44 and vgg8."""


class Nnc(Tool):
    """What needs no data: one step for all weights, or its own rule for each."""

    name = "NNCodec"
    needs = ("nncodec",)
    remark = "its own bitstream of the weights, without the graph"
    is_loaded = False

    def settings(self) -> Generator[Setting, bool, None]:
        """Yield ever closer steps to the coarsest one within the limit, of the two rules in turn.

        Small tensors have finer steps: its default where theirs alone lose too much, else coarser ones.
        """
        for nonweight_qp in (-40, -75):
            found = yield from coarsest(_COARSEST_QP, _FINEST_QP, {"nonweight_qp": nonweight_qp})
            if found is not None:
                others = {"nonweight_qp": nonweight_qp, "opt_qp": True}
                yield from coarsest(found + _WIDER, found - _FINER, others)
                return

    def make(self, task: Task, setting: Setting) -> Path:
        """Code and decode the weights; see `Tool`."""
        from nncodec import nnc

        coded, weights = task.shipped / "weights.nnc", Weights(task.source)
        nnc.compress(weights.arrays, str(coded), use_dq=True, row_skipping=True, **setting)
        return weights.restored(nnc.decompress(str(coded)), task.work / "model.onnx")


def coarsest(coarse: int, fine: int, others: Setting) -> Generator[Setting, bool, int | None]:
    """Yield steps, each amid what is left of a range; return the coarsest within the limit."""
    found = None
    while coarse >= fine:
        qp = (coarse + fine) // 2
        if (yield {"qp": qp, **others}):
            found, fine = qp, qp + 1
        else:
            coarse = qp - 1
    return found


class Weights:
    """The float tensors of a model, by short names.

    Attributes:
        arrays: float32, by name.
    """

    def __init__(self, source: Path) -> None:
        self._model = load(source)
        floats = (t for t in self._model.graph.initializer if t.data_type == onnx.TensorProto.FLOAT)
        self._tensors = {str(i): tensor for i, tensor in enumerate(floats)}
        self.arrays: dict[str, Array] = {
            name: onnx.numpy_helper.to_array(tensor).copy() for name, tensor in self._tensors.items()
        }

    def restored(self, decoded: dict[str, Array], path: Path) -> Path:
        """Write the model with other weights; return the path."""
        for name, values in decoded.items():
            shaped = np.asarray(values, np.float32).reshape(self.arrays[name].shape)
            tensor = self._tensors[name]
            tensor.CopyFrom(onnx.numpy_helper.from_array(shaped, tensor.name))
        return save(self._model, path)
