"""The user's calibration data and labels: read, checked against the model, cut into runs.

The first axis of an array is the samples. An input whose shape has its batch symbol elsewhere, such as
a recurrent state (layers, batch, hidden), is cut along that axis. An array that has exactly the input's
own fixed shape (a sample rate, a start state) goes into every run. An array with one axis more than its
input gives one element to each run.
"""

from __future__ import annotations

import math
import zipfile
from collections.abc import Iterator, Sequence
from os import PathLike
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from onnxzip.disk.own_copy import Found, Part, copy_parts, is_device
from onnxzip.errors import CalibrationError, path_advice
from onnxzip.inputs.feedset import FeedSet
from onnxzip.inputs.given.arrays import ArrayLike, check_arrays, flattened, to_array
from onnxzip.inputs.given.from_python import CalibrationSource, cut_arrays, from_python, join_feeds
from onnxzip.records.aliases import Array
from onnxzip.records.file_kinds import N_LOOKED_AT, kind_of
from onnxzip.runtime.input_spec import InputSpec

BATCH_SIZE = 8
"""Samples: the 64 from which on some are held out (feedset.py) make eight runs, enough to set every
fourth aside."""


def load_calibration(
    source: CalibrationSource, inputs: Sequence[InputSpec], *, batch_size: int = BATCH_SIZE
) -> tuple[FeedSet, Sequence[ArrayLike]]:
    """Read and check calibration data.

    Args:
        source: a .npz (one array per graph input, first axis = samples), a .npy for a model with one
            input, or a folder: .npz files with samples each, or .npy files, named after the inputs or,
            for a model with one input, with samples each. Or what Python has: see `from_python`.
        inputs: the model's inputs.
        batch_size: most samples in one run where the model's batch dimension is free.

    Returns:
        The inputs for all runs, and the labels that came with them, in batches; mostly none.

    Raises:
        CalibrationError: the data cannot be read or does not fit; names file, array, finding, next step.
    """
    if not isinstance(source, str | PathLike):
        return from_python(source, inputs, batch_size)
    cuts = []
    for place, given in _read(Path(source), inputs):
        arrays, specs = flattened(given, inputs)
        cuts.append(cut_arrays(place, check_arrays(place, arrays, specs), specs, batch_size))
    return join_feeds(cuts), ()


def load_labels(source: Path | ArrayLike | Sequence[int], n_samples: int) -> NDArray[np.int64]:
    """Read class labels for the metric top1.

    Args:
        source: a .npy file or an array of integers, (n_samples,) or (n_samples, 1); more axes for a
            model that classifies every pixel.
        n_samples: number of calibration samples.

    Returns:
        int64, (n_samples,) or (n_samples, *positions).

    Raises:
        CalibrationError: not readable, not integers, or not one label per sample.
    """
    place = str(source) if isinstance(source, Path) else "labels"
    labels = _load(source) if isinstance(source, Path) else to_array(place, source)
    if not isinstance(labels, np.ndarray):
        raise CalibrationError(f"{place}: labels are one array of integers; save them with numpy.save")
    if labels.dtype.kind not in "iu":
        raise CalibrationError(f"{place}: labels are {labels.dtype}; pass class numbers as integers")
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.ndim == 0 or len(labels) != n_samples:
        raise CalibrationError(
            f"{place}: labels of shape {labels.shape} for {n_samples} calibration samples; "
            "pass one per sample"
        )
    if labels.min() < 0:
        raise CalibrationError(f"{place}: label {labels.min()} is negative; classes count from 0")
    return labels.astype(np.int64)


def join_labels(batches: Sequence[ArrayLike]) -> Array:
    """Return labels that came in batches as one array.

    Raises:
        CalibrationError: they are no arrays, or of different shapes.
    """
    place = "labels (the y of batches (x, y))"
    arrays = [np.atleast_1d(to_array(place, batch)) for batch in batches]
    try:
        return np.concatenate(arrays)
    except ValueError as error:
        raise CalibrationError(f"{place}: differ in shape from batch to batch; pass `labels`") from error


def _read(path: Path, inputs: Sequence[InputSpec]) -> Iterator[tuple[str, dict[str, Array]]]:
    """Yield (place, arrays by input name) for each set of samples."""
    if not path.is_dir():
        yield str(path), _named(path, _load(path), inputs)
        return
    files = sorted(p for p in path.iterdir() if p.suffix in (".npz", ".npy"))
    if not files:
        raise CalibrationError(
            f"{path}: the folder holds no .npz or .npy file; put the calibration data there"
        )
    if len({p.suffix for p in files}) > 1:
        raise CalibrationError(f"{path}: the folder mixes .npz and .npy files; keep one kind")
    names = {spec.name for spec in inputs}
    if files[0].suffix == ".npy" and (len(inputs) != 1 or {p.stem for p in files} <= names):
        yield str(path), {p.stem: _single(p) for p in files}
        return
    for file in files:
        yield str(file), _named(file, _load(file), inputs)


def _load(path: Path) -> Array | dict[str, Array]:
    if path.suffix not in (".npz", ".npy"):
        raise CalibrationError(
            f"{path}: not a .npz or .npy file; save calibration data with numpy.savez"
        )
    try:
        _check_begin(path)
        if path.suffix == ".npy":
            return _copy_array(path)
        with np.load(path, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except FileNotFoundError as error:
        raise CalibrationError(f"{path}: no such file; {path_advice(path)}") from error
    except CalibrationError:
        raise
    except MemoryError as error:
        raise CalibrationError(f"{path}: does not fit in memory; use fewer samples") from error
    except (
        Exception
    ) as error:  # zipfile, zlib, OSError, ValueError, ...: all mean a file that is no good
        reason = _reason(error)
        raise CalibrationError(f"{path}: cannot be read: {reason}; save plain arrays again") from error


def _reason(error: Exception) -> str:
    """Return what an error of numpy's or zipfile's says of a file, on one line."""
    reason = " ".join(str(error).split())[:200]
    if isinstance(error, zipfile.BadZipFile):
        return f"it is cut short, or damaged ({reason})"
    if "allow_pickle" in reason or "Object arrays" in reason:
        return _HOLDS_OBJECTS
    return "the header of its array is malformed" if " object at 0x" in reason else reason


_HOLDS_OBJECTS = "it holds Python objects, which are not loaded for safety"

_BEGINS = {".npy": (b"\x93NUMPY",), ".npz": (b"PK\x03\x04", b"PK\x05\x06")}
"""How files begin: numpy/lib/format.py, and APPNOTE.TXT of PKWARE; the last is an empty archive."""


def _check_begin(path: Path) -> None:
    """Raise CalibrationError unless a file is one, and begins as its suffix says."""
    if is_device(path):
        raise CalibrationError(
            f"{path}: is a device or a pipe; write the arrays to a file and name that"
        )
    with path.open("rb") as file:
        head = file.read(N_LOOKED_AT)
    if head.startswith(_BEGINS[path.suffix]):
        return
    if not head:
        raise CalibrationError(f"{path}: the file is empty; save the arrays again")
    other = kind_of(head) or f"no {path.suffix} file; save the arrays with numpy.save or numpy.savez"
    raise CalibrationError(f"{path}: {other}")


def _copy_array(path: Path) -> Array:
    """Return the array of a .npy file, in a copy of our own that others cannot cut short."""
    found = Found.at(path)
    with path.open("rb") as file:
        is_first = np.lib.format.read_magic(file) == (1, 0)
        read = np.lib.format.read_array_header_1_0 if is_first else np.lib.format.read_array_header_2_0
        shape, is_transposed, dtype = read(file)
        start = file.tell()
    if dtype.hasobject:
        raise ValueError(_HOLDS_OBJECTS)
    if min(shape, default=0) < 0:
        raise ValueError(f"its header asks for shape {shape}")
    n_bytes = math.prod(shape) * dtype.itemsize
    if start + n_bytes > found.n_bytes:
        raise ValueError(
            f"it is cut short: shape {shape} of {dtype} is {n_bytes:,} bytes, "
            f"and it has {found.n_bytes - start:,}"
        )
    (data,) = copy_parts([Part(found, start, n_bytes)])
    order: Literal["F", "C"] = "F" if is_transposed else "C"
    return data.view(dtype).reshape(shape, order=order)


def _single(path: Path) -> Array:
    array = _load(path)
    assert isinstance(array, np.ndarray)  # the caller passes .npy files only
    return array


def _named(
    path: Path, loaded: Array | dict[str, Array], inputs: Sequence[InputSpec]
) -> dict[str, Array]:
    if isinstance(loaded, dict):
        if list(loaded) == ["arr_0"] and len(inputs) == 1:
            return {inputs[0].name: loaded["arr_0"]}
        return loaded
    if len(inputs) != 1:
        names = ", ".join(spec.name for spec in inputs)
        raise CalibrationError(
            f"{path}: one array for a model with {len(inputs)} inputs ({names}); "
            "pass a .npz with one each"
        )
    return {inputs[0].name: loaded}
