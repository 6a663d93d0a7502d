"""Cut arrays of samples into runs of a model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from onnxzip.errors import CalibrationError
from onnxzip.inputs.axes import STATE_NAME, sample_axis, samples_per_run
from onnxzip.records.aliases import Array, Feeds
from onnxzip.runtime.input_spec import InputSpec

MAX_RUN_ELEMENTS = 1 << 19
"""Three pictures of 3 x 224 x 224: a guess that bounds the memory of all values inside the network."""

_MIN_BATCH = 2
"""A free batch axis is run as one: what mixes up samples does not show on single ones."""


@dataclass(frozen=True, eq=False)
class _Cut:
    """How one array is spread over the runs.

    Attributes:
        role: "every" run gets it whole; "slice" along `axis`, in any size; "fixed" slices of
            `chunk` along axis 0; "item" i of the extra first axis goes to run i.
        count: samples in the array.
    """

    array: Array
    role: Literal["every", "slice", "fixed", "item"]
    count: int = 1
    axis: int = 0
    chunk: int = 1


def cut_samples(
    place: str, arrays: Mapping[str, Array], inputs: Sequence[InputSpec], batch_size: int
) -> tuple[list[Feeds], int]:
    """Cut one array per input into feeds.

    Args:
        place: file name for messages.
        arrays: in the inputs' dtypes, by input name.
        inputs: graph inputs.
        batch_size: most samples in one run where the batch dimension is free; large samples come in
            smaller runs, because all of a run's values may have to be held at once.

    Returns:
        The feeds and the number of samples in them.

    Raises:
        CalibrationError: a shape does not fit its input, or the numbers of samples disagree.
    """
    cuts = {spec.name: _role(place, spec, arrays[spec.name], inputs) for spec in inputs}
    for name, cut in cuts.items():
        if cut.count == 0:
            raise CalibrationError(
                f"{place}: array {name!r} of shape {cut.array.shape} has no sample, its axis "
                f"{cut.axis} counts them; pass samples"
            )
    check_elements(place, arrays, inputs)
    cuts, is_single = _demote_states(_repeat_empty(cuts))
    n_samples = _count(place, cuts, inputs)
    n_elements = sum(cut.array.size for cut in cuts.values() if cut.role != "every")
    n_fitting = MAX_RUN_ELEMENTS * n_samples // max(n_elements, 1)
    batch_size = min(batch_size, max(n_fitting, _MIN_BATCH))
    n_runs = _n_runs(place, cuts, n_samples, 1 if is_single else batch_size)
    size = -(-n_samples // n_runs)
    feeds: list[Feeds] = [
        {name: _part(cut, run, size) for name, cut in cuts.items()} for run in range(n_runs)
    ]
    return feeds, n_samples


def check_shape(place: str, spec: InputSpec, shape: tuple[int, ...]) -> None:
    """Raise CalibrationError unless an array of this shape can be fed to the input."""
    if not spec.shape:
        return  # a scalar or an unknown rank: onnxruntime does not say which
    if len(shape) != len(spec.shape) or any(
        isinstance(dim, int) and dim != size for dim, size in zip(spec.shape, shape, strict=True)
    ):
        raise CalibrationError(
            f"{place}: array {spec.name!r} has shape {shape}, the model takes {_shown(spec)}; reshape it"
        )


def check_elements(place: str, arrays: Mapping[str, Array], inputs: Sequence[InputSpec]) -> None:
    """Raise CalibrationError where a model is told nothing: all its inputs but states are empty.

    A past of length 0, or no picture beside a text, is what a decoder is fed at its first step.
    Scalars, such as a sample rate, tell nothing either.
    """
    names = [spec.name for spec in inputs if arrays[spec.name].ndim]
    names = [name for name in names if not STATE_NAME.search(name.lower())] or names
    if names and all(arrays[name].size == 0 for name in names):
        shapes = ", ".join(f"{name!r} of shape {arrays[name].shape}" for name in names)
        raise CalibrationError(f"{place}: no element in {shapes}; pass samples that hold values")


def _role(place: str, spec: InputSpec, array: Array, inputs: Sequence[InputSpec]) -> _Cut:
    rank = len(spec.shape)
    if spec.is_element and array.ndim:
        return _Cut(array, "item", len(array))
    if rank == 0:
        return _scalar_role(array)
    if array.ndim == rank + 1:
        check_shape(place, spec, array.shape[1:])
        return _Cut(array, "item", len(array))
    axis = sample_axis(spec, inputs)
    dim = spec.shape[axis]
    if array.ndim != rank:
        raise CalibrationError(
            f"{place}: array {spec.name!r} has shape {array.shape}, the model takes {_shown(spec)}; "
            "the first axis is the samples"
        )
    chunk = dim if isinstance(dim, int) else array.shape[axis]
    check_shape(place, spec, (*array.shape[:axis], chunk, *array.shape[axis + 1 :]))
    if not isinstance(dim, int):
        return _Cut(array, "slice", array.shape[axis], axis)
    if len(array) % max(dim, 1):
        raise CalibrationError(
            f"{place}: array {spec.name!r} has {len(array)} samples, but the model's batch is fixed to "
            f"{dim}; pass a multiple of {dim}"
        )
    return _Cut(array, "every" if len(array) == dim else "fixed", len(array), chunk=dim)


def _scalar_role(array: Array) -> _Cut:
    if array.size == 1 or (array.ndim == 1 and array.size and (array == array[0]).all()):
        return _Cut(array.reshape(-1)[0:1].reshape(()), "every")
    # One value for each run; with more axes it can only be an input of unknown rank.
    return _Cut(array, "item" if array.ndim == 1 else "slice", len(array))


def _repeat_empty(cuts: Mapping[str, _Cut]) -> dict[str, _Cut]:
    """Repeat an empty past for one sample as often as there are samples: it holds nothing to repeat."""
    n_most = max(cut.count for cut in cuts.values())
    repeated: dict[str, _Cut] = {}
    for name, cut in cuts.items():
        if cut.array.size == 0 and cut.role == "slice" and cut.count == 1:
            array = np.repeat(cut.array, n_most, axis=cut.axis)
            repeated[name] = replace(cut, array=array, count=n_most)
    return {**cuts, **repeated}


def _demote_states(cuts: Mapping[str, _Cut]) -> tuple[dict[str, _Cut], bool]:
    """Give a start state for one sample to every run; the runs then take one sample each."""
    n_most = max(cut.count for cut in cuts.values())
    single = {
        name: _Cut(cut.array, "every")
        for name, cut in cuts.items()
        if cut.role == "slice" and cut.axis > 0 and cut.count == 1 < n_most
    }
    is_single = bool(single) or any(cut.role == "item" for cut in cuts.values())
    return {**cuts, **single}, is_single


def _count(place: str, cuts: Mapping[str, _Cut], inputs: Sequence[InputSpec]) -> int:
    counts = {name: cut.count for name, cut in cuts.items() if cut.role != "every"}
    if not counts:
        return samples_per_run(inputs, {name: cut.array.shape for name, cut in cuts.items()})
    (first, n_samples), *others = counts.items()
    for name, count in others:
        if count != n_samples:
            raise CalibrationError(
                f"{place}: {first!r} has {n_samples} samples, {name!r} has {count}; "
                "give all the same number"
            )
    return n_samples


def _n_runs(place: str, cuts: Mapping[str, _Cut], n_samples: int, batch_size: int) -> int:
    if all(cut.role == "every" for cut in cuts.values()):
        return 1
    fixed = {cut.chunk for cut in cuts.values() if cut.role == "fixed"}
    if len(fixed) > 1 or (fixed and batch_size == 1 and fixed != {1}):
        raise CalibrationError(
            f"{place}: the inputs take different numbers of samples in a run; "
            "pass an iterable of feeds in Python"
        )
    return -(-n_samples // (fixed.pop() if fixed else batch_size))


def _part(cut: _Cut, run: int, size: int) -> Array:
    if cut.role == "every":
        return cut.array
    if cut.role == "item":
        return np.asarray(cut.array[run])
    index = (slice(None),) * cut.axis + (slice(run * size, (run + 1) * size),)
    return np.ascontiguousarray(cut.array[index])


def _shown(spec: InputSpec) -> str:
    return "(" + ", ".join("?" if dim is None else str(dim) for dim in spec.shape) + ")"
