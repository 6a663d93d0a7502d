"""What a model is fed and answers, from and to flat numpy arrays, whatever its types.

tensor(bfloat16)    float32, which is rounded; numpy has no bfloat16, and onnxruntime's Python interface
neither takes nor gives arrays of it, but takes OrtValues, whose memory can be read
seq(tensor(T))      one array per element, "name[0]", "name[1]", ..., as outputs are (`outputs.flatten`)
optional(...)       nothing, where it is left out
"""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import count, takewhile
from typing import Any

import ml_dtypes
import numpy as np
import onnxruntime as ort

from onnxzip.records.aliases import Array, Feeds
from onnxzip.runtime.outputs import RunValue

_BFLOAT16, _BFLOAT16_TYPE = "tensor(bfloat16)", 16
"""onnxruntime's name and TensorProto.DataType."""


SILENT = 4
"""onnxruntime's severity of fatal errors: at this level nothing reaches stderr."""


class RunLimit:
    """Wall-clock time for runs that may never end.

    Each run that is not done in it halves what the next ones get, so that all of them together take
    about twice the time of the first.

    Args:
        seconds: for a run.
        what: may never end, in words, such as "Loop 'y'".
    """

    def __init__(self, seconds: float, what: str) -> None:
        """Allow all of the time; see the class."""
        self.seconds = seconds
        self._what = what

    @contextmanager
    def watch(self) -> Iterator[ort.RunOptions]:
        """Give options to run with; the run is ended where it takes too long.

        Raises:
            TimeoutError: it was.
        """
        options = ort.RunOptions()
        options.log_severity_level = SILENT
        timer = threading.Timer(self.seconds, setattr, (options, "terminate", True))
        timer.daemon = True
        timer.start()
        try:
            yield options
        except Exception as error:  # onnxruntime's exceptions share no base class
            if not options.terminate:
                raise
            finding = f"{self._what} is not done after {self.seconds:.2g} s"
            self.seconds /= 2
            raise TimeoutError(finding) from error
        finally:
            timer.cancel()


class Feeder:
    """Runs a session on flat arrays.

    Args:
        session: whose inputs and outputs are asked for their types.

    Attributes:
        limit: for runs that may never end, None where there is none.
    """

    def __init__(self, session: ort.InferenceSession) -> None:
        self.limit: RunLimit | None = None
        self._inputs = {arg.name: arg.type for arg in session.get_inputs()}
        self._rounded = {name for name, kind in self._inputs.items() if _BFLOAT16 in kind}
        self._unread = {arg.name for arg in session.get_outputs() if arg.type == _BFLOAT16}

    def run(self, session: ort.InferenceSession, names: Sequence[str], feeds: Feeds) -> list[RunValue]:
        """Return the named outputs as onnxruntime gives them, but for bfloat16: it becomes float32.

        Raises:
            TimeoutError: the run is not done within the limit.
            Exception: what onnxruntime raises.
        """
        if self.limit is None:
            return self._run(session, names, feeds, None)
        with self.limit.watch() as options:
            return self._run(session, names, feeds, options)

    def _run(
        self,
        session: ort.InferenceSession,
        names: Sequence[str],
        feeds: Feeds,
        options: ort.RunOptions | None,
    ) -> list[RunValue]:
        fed = self._fed(feeds)
        if not self._unread.intersection(names):
            return list(session.run(list(names), fed, options))
        values = {name: _ort_value(value) for name, value in fed.items()}
        return [_read(value) for value in session.run_with_ort_values(list(names), values, options)]

    def _fed(self, feeds: Feeds) -> dict[str, Any]:
        """Return the feeds by input; initializers that are overridden are no inputs of the session."""
        fed: dict[str, Any] = {}
        elements: set[str] = set()
        for name, kind in self._inputs.items():
            if "seq(" in kind and name not in feeds:
                keys = list(takewhile(feeds.__contains__, (f"{name}[{i}]" for i in count())))
                elements.update(keys)
                if keys or not kind.startswith("optional("):
                    fed[name] = [feeds[key] for key in keys]
        fed |= {name: array for name, array in feeds.items() if name not in elements}
        return fed | {name: _rounded(fed[name]) for name in self._rounded & fed.keys()}


def _rounded(value: Any) -> Any:
    """Return float32 as OrtValues of bfloat16."""
    if isinstance(value, list):
        return [_rounded(item) for item in value]
    bits = np.ascontiguousarray(value.astype(ml_dtypes.bfloat16)).reshape(value.shape).view(np.uint16)
    return ort.OrtValue.ortvalue_from_numpy_with_onnx_type(bits, _BFLOAT16_TYPE)


def _ort_value(value: Any) -> ort.OrtValue:
    is_array = isinstance(value, np.ndarray)
    return ort.OrtValue.ortvalue_from_numpy(np.asarray(value, order="C")) if is_array else value


def _read(value: ort.OrtValue) -> RunValue:
    """Return what an OrtValue holds, as run() would."""
    if value.data_type() != _BFLOAT16:
        found: RunValue = value.numpy()
        return found
    shape = tuple(value.shape())
    n_bytes = 2 * int(np.prod(shape, dtype=np.int64))
    bits: Array = np.frombuffer(ctypes.string_at(value.data_ptr(), n_bytes), ml_dtypes.bfloat16)
    return np.asarray(bits.astype(np.float32).reshape(shape))
