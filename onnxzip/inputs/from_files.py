"""The user's calibration data and labels: read, checked against the model, cut into runs.

The first axis of an array is the samples. An input whose shape has its batch symbol elsewhere, such as
a recurrent state (layers, batch, hidden), is cut along that axis. An array that has exactly the input's
own fixed shape (a sample rate, a start state) goes into every run. An array with one axis more than its
input gives one element to each run.

Number types: integers are converted to the model's integer type when every value fits; floats are
rounded to the nearest value of the model's float type (an overflow is an error). Anything else - above
all integers for a float input, which usually means that pixels were not normalised - is refused.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Protocol, TypeAlias, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from onnxzip.errors import CalibrationError
from onnxzip.inputs.feedset import FeedSet
from onnxzip.inputs.free_sizes import samples_per_run
from onnxzip.inputs.runs import check_shape, cut_samples
from onnxzip.records.aliases import Array, Feeds
from onnxzip.runtime.input_spec import InputSpec

BATCH_SIZE = 8


@runtime_checkable
class DataReader(Protocol):
    """What onnxruntime.quantization.CalibrationDataReader offers."""

    def get_next(self) -> Feeds | None:
        """Return the next feeds, None at the end."""


CalibrationSource: TypeAlias = str | Path | Mapping[str, Array] | Iterable[Feeds] | DataReader


def load_calibration(
    source: CalibrationSource, inputs: Sequence[InputSpec], *, batch_size: int = BATCH_SIZE
) -> FeedSet:
    """Read and check calibration data.

    Args:
        source: a .npz (one array per graph input, first axis = samples), a .npy for a model with one
            input, or a folder: .npz files with samples each, or .npy files, named after the inputs or,
            for a model with one input, with samples each. Or a dict of arrays, an iterable of feeds, an
            onnxruntime CalibrationDataReader.
        inputs: the model's inputs.
        batch_size: most samples in one run where the model's batch dimension is free.

    Raises:
        CalibrationError: the data cannot be read or does not fit; names file, array, finding, next step.
    """
    if isinstance(source, str | Path):
        sets = list(_read(Path(source), inputs))
    elif isinstance(source, Mapping):
        sets = [("calibration", dict(source))]
    else:
        return _from_feeds(source, inputs)
    feeds: list[Feeds] = []
    sizes: list[int] = []
    for place, arrays in sets:
        checked = _check_arrays(place, arrays, inputs)
        cut, n_cut = cut_samples(place, checked, inputs, batch_size)
        feeds += cut
        per_run = -(-n_cut // len(cut))
        sizes += [min(per_run, n_cut - i * per_run) for i in range(len(cut))]
    return FeedSet(tuple(feeds), tuple(sizes))


def load_labels(source: str | Path | Array, n_samples: int) -> NDArray[np.int64]:
    """Read class labels for --metric top1.

    Args:
        source: a .npy file or an array of integers, (n_samples,) or (n_samples, 1); more axes for a
            model that classifies every pixel.
        n_samples: number of calibration samples.

    Returns:
        int64, (n_samples,) or (n_samples, *positions).

    Raises:
        CalibrationError: not readable, not integers, or not one label per sample.
    """
    place = str(source) if isinstance(source, str | Path) else "labels"
    labels = _load(Path(source)) if isinstance(source, str | Path) else np.asarray(source)
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
        if path.suffix == ".npy":
            return np.asarray(np.load(path, allow_pickle=False, mmap_mode="r"))
        with np.load(path, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except FileNotFoundError as error:
        raise CalibrationError(f"{path}: no such file; check the path") from error
    except MemoryError as error:
        raise CalibrationError(f"{path}: does not fit in memory; use fewer samples") from error
    except (
        Exception
    ) as error:  # zipfile, zlib, OSError, ValueError, ...: all mean a file that is no good
        reason = " ".join(str(error).split())[:200]
        if "allow_pickle" in reason:
            reason = "it holds Python objects, which are not loaded for safety"
        raise CalibrationError(f"{path}: cannot be read: {reason}; save plain arrays again") from error


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


def _check_arrays(
    place: str, arrays: Mapping[str, Array], inputs: Sequence[InputSpec]
) -> dict[str, Array]:
    expected = ", ".join(spec.name for spec in inputs)
    unknown = sorted(set(arrays) - {spec.name for spec in inputs})
    if unknown:
        raise CalibrationError(
            f"{place}: array {unknown[0]!r} is not an input of the model; "
            f"name arrays after its inputs: {expected}"
        )
    missing = [spec.name for spec in inputs if spec.name not in arrays]
    if missing:
        raise CalibrationError(
            f"{place}: no array for input {missing[0]!r}; the model has inputs: {expected}"
        )
    return {spec.name: _convert(place, spec, np.asarray(arrays[spec.name])) for spec in inputs}


def _convert(place: str, spec: InputSpec, array: Array) -> Array:
    """Return the array in the input's dtype, or say why that is not possible."""
    where = f"{place}: array {spec.name!r}"
    if isinstance(spec.dtype, str):
        if spec.dtype == "tensor(string)" and array.dtype.kind in "UO":
            return array
        raise CalibrationError(
            f"{where}: is {array.dtype} for an input of type {spec.dtype}, which is not supported"
        )
    kinds = array.dtype.kind + spec.dtype.kind
    if kinds not in {"ff", "bb", "ii", "iu", "ui", "uu"}:
        raise CalibrationError(
            f"{where}: is {array.dtype}, the model takes {spec.dtype}; "
            "convert (and scale) it as the model expects"
        )
    if kinds == "ff" and not np.isfinite(array).all():
        raise CalibrationError(f"{where}: holds NaN or Inf; remove those samples")
    if array.dtype == spec.dtype:
        return array
    with np.errstate(over="ignore"):
        converted = array.astype(spec.dtype)
    fits = np.isfinite(converted).all() if kinds == "ff" else np.array_equal(converted, array)
    if not fits:
        raise CalibrationError(
            f"{where}: has values that do not fit the model's {spec.dtype}; check its scale"
        )
    return converted


def _from_feeds(source: Iterable[Feeds] | DataReader, inputs: Sequence[InputSpec]) -> FeedSet:
    """Check feeds that come ready for a run each."""
    if not isinstance(source, DataReader | Iterable):
        raise CalibrationError(
            f"calibration: is a {type(source).__name__}; pass a path, a dict of arrays, feeds "
            "or a CalibrationDataReader"
        )
    items = iter(source.get_next, None) if isinstance(source, DataReader) else iter(source)
    feeds: list[Feeds] = []
    sizes: list[int] = []
    for index, item in enumerate(items):
        place = f"calibration feed {index}"
        if not isinstance(item, Mapping):
            raise CalibrationError(
                f"{place}: is a {type(item).__name__}; yield dicts of input name to array"
            )
        arrays = _check_arrays(place, item, inputs)
        for spec in inputs:
            check_shape(place, spec, arrays[spec.name].shape)
        feeds.append(arrays)
        sizes.append(samples_per_run(inputs, {name: array.shape for name, array in arrays.items()}))
    if not feeds:
        raise CalibrationError("calibration: no feeds; a reader or generator can be read only once")
    return FeedSet(tuple(feeds), tuple(sizes))
