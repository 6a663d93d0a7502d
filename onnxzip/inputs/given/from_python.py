"""Calibration data as Python scripts hold it.

    array or tensor            for a model with one input; the first axis is the samples
    dict of arrays             one per input; the first axis is the samples
    iterable of batches        a list, a generator, a torch DataLoader, ...; a batch is
        array or tensor        for a model with one input
        (x, y)                 as a loader over a labelled dataset yields: y are the labels
        dict of arrays         one per input, as loaders of text models yield: a run of the model
    CalibrationDataReader      of onnxruntime: each feed is a run of the model

Arrays are cut into runs as those of files are (`from_files`). So is a dict whose samples do not fit a
run, because the model's batch is fixed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from os import PathLike
from typing import Protocol, TypeAlias, runtime_checkable

from onnxzip.errors import CalibrationError
from onnxzip.inputs.axes import samples_per_run
from onnxzip.inputs.feedset import FeedSet
from onnxzip.inputs.given.arrays import ArrayLike, check_arrays, flattened, is_array
from onnxzip.inputs.given.runs import check_elements, check_shape, cut_samples
from onnxzip.records.aliases import Feeds
from onnxzip.runtime.input_spec import InputSpec

Inputs: TypeAlias = ArrayLike | Mapping[str, ArrayLike]
Batch: TypeAlias = Inputs | tuple[Inputs] | tuple[Inputs, ArrayLike] | list[ArrayLike]


@runtime_checkable
class DataReader(Protocol):
    """What onnxruntime.quantization.CalibrationDataReader offers."""

    def get_next(self) -> Mapping[str, ArrayLike] | None:
        """Return the next feeds, None at the end."""


CalibrationSource: TypeAlias = str | PathLike[str] | Inputs | Iterable[Batch] | DataReader
_ADVICE = "yield arrays, (x, y) with an array x, or dicts of input name to array"
Cut: TypeAlias = tuple[Sequence[Feeds], Sequence[int]]
"""Feeds of several runs, and the number of samples in each."""


def from_python(
    source: Inputs | Iterable[Batch] | DataReader, inputs: Sequence[InputSpec], batch_size: int
) -> tuple[FeedSet, Sequence[ArrayLike]]:
    """Return the inputs for all runs, and the labels that came with them, in batches.

    Args:
        source: see the top of this file.
        inputs: the model's inputs.
        batch_size: most samples in one run where the model's batch dimension is free.

    Raises:
        CalibrationError: the data does not fit the model; names batch, array, finding, next step.
    """
    if isinstance(source, Mapping) or is_array(source):
        arrays, specs = _named("calibration", source, inputs)
        return join_feeds([cut_arrays("calibration", arrays, specs, batch_size)]), ()
    assert isinstance(source, DataReader | Iterable)  # Options takes nothing else
    cuts: list[Cut] = []
    labels: list[ArrayLike] = []
    assert not isinstance(source, Mapping)
    for index, item in enumerate(_batches(source)):
        place = f"calibration batch {index}"
        batch, *given = item if isinstance(item, tuple | list) and item else (item,)
        if len(given) > 1:
            raise CalibrationError(f"{place}: is {1 + len(given)} things; {_ADVICE}")
        labels += given
        arrays, specs = _named(place, batch, inputs)
        if isinstance(batch, Mapping) and _is_run(arrays, specs):
            cuts.append(([arrays], [_n_samples(place, arrays, specs)]))
        else:
            cuts.append(cut_arrays(place, arrays, specs, batch_size))
    if not cuts:
        raise CalibrationError("calibration: no batches; a reader or generator can be read only once")
    return join_feeds(cuts), labels


def cut_arrays(place: str, arrays: Feeds, inputs: Sequence[InputSpec], batch_size: int) -> Cut:
    """Cut checked arrays of samples, one per input, into runs; see `cut_samples`."""
    feeds, n_cut = cut_samples(place, arrays, inputs, batch_size)
    per_run = -(-n_cut // len(feeds))
    return feeds, [min(per_run, n_cut - i * per_run) for i in range(len(feeds))]


def join_feeds(cuts: Iterable[Cut]) -> FeedSet:
    """Return the runs of all sets of samples as one."""
    feeds: list[Feeds] = []
    sizes: list[int] = []
    for cut_feeds, cut_sizes in cuts:
        feeds += cut_feeds
        sizes += cut_sizes
    return FeedSet(tuple(feeds), tuple(sizes))


def _batches(source: Iterable[Batch] | DataReader) -> Iterator[Batch]:
    """Yield the batches; what the user's own code raises is told as a fault of the batch."""
    index = 0
    try:
        batches = iter(source.get_next, None) if isinstance(source, DataReader) else iter(source)
        for index, batch in enumerate(batches, 1):  # noqa: B007  # which one could not be read
            yield batch
    except GeneratorExit:
        raise
    except Exception as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise CalibrationError(
            f"calibration batch {index}: cannot be read: {reason}; mend the loader"
        ) from error


def _named(place: str, batch: object, inputs: Sequence[InputSpec]) -> tuple[Feeds, Sequence[InputSpec]]:
    """Return the arrays of a batch by input name, checked but for their shapes, and their specs."""
    if isinstance(batch, Mapping):
        arrays, specs = flattened(batch, inputs)
        return check_arrays(place, arrays, specs), specs
    if not is_array(batch):
        raise CalibrationError(f"{place}: is a {type(batch).__name__}; {_ADVICE}")
    if len(inputs) != 1:
        names = ", ".join(spec.name for spec in inputs)
        raise CalibrationError(
            f"{place}: is one array, the model has {len(inputs)} inputs ({names}); "
            "pass dicts with an array for each"
        )
    arrays, specs = flattened({inputs[0].name: batch}, inputs)
    return check_arrays(place, arrays, specs), specs


def _is_run(arrays: Feeds, inputs: Sequence[InputSpec]) -> bool:
    """Whether the model takes the arrays as they are."""
    try:
        for spec in inputs:
            check_shape("", spec, arrays[spec.name].shape)
    except CalibrationError:
        return False
    return True


def _n_samples(place: str, arrays: Feeds, inputs: Sequence[InputSpec]) -> int:
    check_elements(place, arrays, inputs)
    shapes = {name: array.shape for name, array in arrays.items()}
    if any(spec.shape for spec in inputs):
        n_samples = samples_per_run(inputs, shapes)
    else:  # of unknown ranks
        n_samples = max(shape[0] if shape else 1 for shape in shapes.values())
    if n_samples == 0:
        raise CalibrationError(f"{place}: no sample in arrays of shapes {shapes}; leave this batch out")
    return n_samples
