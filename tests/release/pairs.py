"""Compares a compressed model with its original by plain onnx and onnxruntime, none of onnxzip's code.

What both are run on: the inputs that lie beside the model, as other projects' test suites keep them
(`test_data_set_*/input_*.pb`), else numbers that the original accepts.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from numpy.typing import NDArray

Feeds = Mapping[str, Any]

FREE_SIZES = (2, 1, 4, 16)
"""What free dimensions are tried as."""

LEVELS = ("ORT_ENABLE_ALL", "ORT_DISABLE_ALL")

_NUMPY_TYPES = {
    "float": np.float32,
    "double": np.float64,
    "float16": np.float16,
    "bool": np.bool_,
    **{f"{u}int{n}": np.dtype(f"{u}int{n}").type for u in ("", "u") for n in (8, 16, 32, 64)},
}

_MAX_ELEMENTS = 1 << 24


@dataclass(frozen=True)
class Comparison:
    """What was found.

    Attributes:
        faults: what a user would call wrong, a line each.
        loss: |y - y'| / |y - mean of y| of the worst output; None where the original was not run.
        n_runs: runs of each.
    """

    faults: Sequence[str] = ()
    loss: float | None = None
    n_runs: int = 0


def open_session(path: Path, level: str = LEVELS[0]) -> ort.InferenceSession:
    """Open a model in stock onnxruntime, on one CPU thread and without its messages."""
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    options.graph_optimization_level = getattr(ort.GraphOptimizationLevel, level)
    return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def compare(before: Path, after: Path, seed: int = 0) -> Comparison:
    """Compare two files: signature, loading and outputs at optimisation all and off."""
    faults = list(_signature_faults(before, after))
    original = open_session(before)
    try:
        small = open_session(after)
    except Exception as error:  # onnxruntime's exceptions share no base class
        return Comparison([*faults, f"does not load: {_short(error)}"])
    pairs: list[tuple[list[Any], list[Any]]] = []
    for feeds in _feeds(before, original, seed):
        try:
            wanted = original.run(None, dict(feeds))
        except Exception:  # not an input of this model
            continue
        found, fault = _answers(small, feeds)
        if found is None:
            faults.append(f"fails where the original runs: {fault}")
            break
        pairs.append((wanted, found))
        faults += _at_level_off(before, after, feeds, found)
    faults += [fault for wanted, found in pairs for fault in _form_faults(wanted, found)]
    loss = None if faults or not pairs else _loss(pairs)
    return Comparison(list(dict.fromkeys(faults)), loss, len(pairs))


def _answers(session: ort.InferenceSession, feeds: Feeds) -> tuple[list[Any] | None, str]:
    try:
        return session.run(None, dict(feeds)), ""
    except Exception as error:  # onnxruntime's exceptions share no base class
        return None, _short(error)


def _at_level_off(before: Path, after: Path, feeds: Feeds, found: list[Any]) -> Iterator[str]:
    """Yield a fault where the compressed file runs only when optimised, unlike the original."""
    try:
        open_session(before, LEVELS[1]).run(None, dict(feeds))
    except Exception:  # the original does not run so either
        return
    try:
        again = open_session(after, LEVELS[1]).run(None, dict(feeds))
    except Exception as error:  # onnxruntime's exceptions share no base class
        yield f"fails without optimisation: {_short(error)}"
        return
    yield from _form_faults(found, again)


def _signature_faults(before: Path, after: Path) -> Iterator[str]:
    old, new = (onnx.load(path, load_external_data=False) for path in (before, after))
    given = {t.name for t in old.graph.initializer} if old.ir_version < 4 else set()
    ports = [v.SerializeToString() for v in old.graph.input if v.name not in given]
    if ports != [v.SerializeToString() for v in new.graph.input if v.name not in given]:
        yield "inputs differ"
    outputs = [[v.SerializeToString() for v in m.graph.output] for m in (old, new)]
    if outputs[0] != outputs[1]:
        yield "outputs differ"
    try:
        onnx.checker.check_model(str(before))
    except Exception:  # what onnx refuses itself may stay refused
        return
    try:
        onnx.checker.check_model(str(after))
    except Exception as error:  # a ValidationError, or what the C++ behind it raises
        yield f"onnx.checker refuses it, and not the original: {_short(error)}"


def _form_faults(wanted: list[Any], found: list[Any]) -> Iterator[str]:
    for i, (left, right) in enumerate(zip(wanted, found, strict=True)):
        a, b = np.asarray(left), np.asarray(right)
        if type(left) is not type(right) or (a.dtype, a.shape) != (b.dtype, b.shape):
            yield f"output {i} is {b.dtype} {b.shape}, not {a.dtype} {a.shape}"
        elif a.dtype.kind == "f" and not np.array_equal(np.isnan(a), np.isnan(b)):
            yield f"output {i} has NaN elsewhere"


def _loss(pairs: Sequence[tuple[list[Any], list[Any]]]) -> float:
    """Return the worst output's error, as the default metric defines it."""
    worst = 0.0
    for columns in zip(*[zip(wanted, found, strict=True) for wanted, found in pairs], strict=True):
        arrays = [(np.asarray(a), np.asarray(b)) for a, b in columns]
        if any(a.dtype.kind != "f" for a, _ in arrays):
            continue
        y, z = (np.concatenate([pair[i].reshape(-1) for pair in arrays]).astype(float) for i in (0, 1))
        finite = np.isfinite(y) & np.isfinite(z)
        y, z = y[finite], z[finite]
        if y.size and np.ptp(y) > 0:
            worst = max(worst, math.sqrt(float(((y - z) ** 2).sum() / ((y - y.mean()) ** 2).sum())))
    return worst


def _feeds(path: Path, session: ort.InferenceSession, seed: int) -> Iterator[Feeds]:
    """Yield the inputs beside the model; where there are none, the first that the original accepts."""
    n_given = 0
    for folder in sorted(path.parent.glob("test_data_set_*")):
        given = _read_set(folder, session)
        if given is not None:
            n_given += 1
            yield given
    if n_given:
        return
    rng = np.random.default_rng(seed)
    for size in FREE_SIZES:
        drawn = _drawn(session, rng, size)
        if drawn is None:
            return
        for feeds in drawn:
            if _answers(session, feeds)[0] is not None:
                yield feeds
                return


def _read_set(folder: Path, session: ort.InferenceSession) -> Feeds | None:
    files = sorted(folder.glob("input_*.pb"), key=lambda file: int(file.stem.split("_")[-1]))
    ports = session.get_inputs()
    feeds = {}
    for port, file in zip(ports, files, strict=False):
        if not port.type.startswith("tensor("):
            return None
        tensor = onnx.TensorProto.FromString(file.read_bytes())
        feeds[port.name] = onnx.numpy_helper.to_array(tensor)
    return feeds if len(files) >= len(ports) > 0 else None


def _drawn(session: ort.InferenceSession, rng: np.random.Generator, size: int) -> list[Feeds] | None:
    """Return inputs of two kinds, normal numbers with small integers, and ones; None where none is."""
    shapes, kinds = {}, {}
    for port in session.get_inputs():
        dtype = _NUMPY_TYPES.get(port.type.removeprefix("tensor(").removesuffix(")"))
        shape = [n if isinstance(n, int) else size for n in port.shape]
        if dtype is None or math.prod(shape) > _MAX_ELEMENTS:
            return None
        shapes[port.name], kinds[port.name] = shape, np.dtype(dtype)
    return [
        {name: _numbers(rng, shape, kinds[name]) for name, shape in shapes.items()},
        {name: np.ones(shape, kinds[name]) for name, shape in shapes.items()},
    ]


def _numbers(rng: np.random.Generator, shape: Sequence[int], dtype: np.dtype[Any]) -> NDArray[Any]:
    if dtype.kind == "f":
        return rng.standard_normal(shape).astype(dtype)
    return rng.integers(0, 2, shape).astype(dtype)


def _short(error: Exception) -> str:
    return " ".join(str(error).split())[:160]
