"""What a user may ask for and what comes back, for the command line and the Python interface.

`Options` checks and normalises itself once, for both of them: what is wrong is a `UsageError` that names
the setting in backticks, so that either interface can say it in its own words.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from onnxzip.errors import UsageError
from onnxzip.options.readers import (
    read_address,
    read_calibration,
    read_flag,
    read_labels,
    read_metric,
    read_names,
    read_number,
    read_objective,
    read_pass_settings,
    read_path,
    read_size,
    read_some_names,
    read_whole,
)
from onnxzip.records.aliases import Array, Scalar
from onnxzip.report.record import Report

if TYPE_CHECKING:
    from onnxzip.graph import ModelProto
    from onnxzip.inputs.given.arrays import ArrayLike
    from onnxzip.inputs.given.from_python import CalibrationSource
    from onnxzip.runtime.outputs import Outputs

UserFunction: TypeAlias = Callable[["Outputs", "Outputs"], float] | Callable[[Array, Array], float]
"""A metric of the user's: takes the original's outputs and the compressed model's, two dicts of arrays
by output name, all runs joined along axis 0; returns the loss. For a model with one output it may take
the two arrays: then its first parameter is annotated as an array (numpy.ndarray, NDArray, ArrayLike),
or has no annotation and is called y_true, as those of sklearn.metrics are."""


def name_of(function: UserFunction) -> str:
    """Return the qualified name of a function, or that of the class of another callable."""
    named = function if hasattr(function, "__qualname__") else type(function)
    return f"{named.__module__}:{named.__qualname__}"


OF_ONE_RUN = frozenset({"overwrite", "cache", "cache_size", "cluster"})
"""What shapes nothing, and is better asked for each time."""

_CACHE_SIZE = 5 << 30
"""What ccache, which is left alone as much, keeps by default (https://ccache.dev/manual, `max_size`)."""

PassSettings: TypeAlias = Mapping[str, Mapping[str, Scalar | tuple[Scalar, ...]]]


@dataclass(frozen=True)
class Options:
    """Settings of `compress` and `verify`; the defaults are the command line's.

    The types below are what a stage finds; what may be given is wider (`Settings` in options/typed.py):
    numpy's numbers are numbers, "4MB" is a size, a single name stands for a tuple of names, a text for a
    path.

    Attributes:
        calibration: the user's data, see `onnxzip.inputs.given.from_python`; None generates inputs.
        labels: class labels for the metric "top1", a .npy file or an array of integers.
        metric: "nrmse", "rel_l2", "cosine", "psnr", "top1", "module:function" or a callable; the latter
            two need a tolerance. They are given two dicts of arrays by output name, or the arrays of a
            model's only output if the signature asks for arrays, see `UserFunction`.
        tolerance: largest loss in the metric's unit; None takes the metric's default.
        best_effort: take the file that loses least where none meets the tolerance.
        target_size: bytes the file may take, instead of a tolerance; the loss is measured and stated.
        max_memory: bytes that the run may hold, beside mapped files; what takes more is left or ends it.
        load_memory: bytes that decoding may add while a session is created; what does not fit is packed.
        objective: "size" leaves what runs as it is; "speed" lets nodes compute in int8, or as factors,
            where that measures faster.
        threads: that runs are timed with for the objective "speed"; None for 1.
        batch: samples in a run that is timed, likewise; None for the shapes that the inputs have, with 1
            sample where a model takes any number of them.
        freeze_inputs: take initializers that are also graph inputs, which callers could override (IR 4
            and above, as old exporters write them), for constants.
        passes: names of the passes to use; None for all.
        skip: names of passes to leave out.
        keep: shell patterns of weight names to leave alone.
        pass_settings: values for passes' dataclass fields, by pass name.
        custom_ops: library of custom operators to register with onnxruntime.
        providers: execution providers to validate on; None for the CPU and every accelerator.
        level: 1 (packs fast, loads fast) to 9 (smallest), see `onnxzip.codec.level`.
        keep_names: leave internal names, doc strings and value_info as they are (from level 6 on
            they are shortened or dropped).
        n_jobs: layers worked on at the same time; of so many processes only those that have work are
            started, and four for each core at most.
        seed: seed of generated inputs and of randomised passes.
        overwrite: replace an existing output file.
        cache: folder where what is measured and worked out is kept, for runs that repeat some of it:
            with another tolerance, or after one that was stopped; None keeps nothing.
        cache_size: bytes that it may take; what was not used for longest goes first.
        cluster: address of a Dask scheduler, tcp://HOST:PORT or tls://HOST:PORT, whose workers work on
            the layers; None works here, in `n_jobs` processes.

    Raises:
        UsageError: a value is of the wrong type or out of range, or two settings contradict each other.
    """

    calibration: CalibrationSource | None = None
    labels: Path | ArrayLike | None = None
    metric: str | UserFunction = "nrmse"
    tolerance: float | None = None
    best_effort: bool = False
    target_size: int | None = None
    load_memory: int | None = None
    max_memory: int | None = None
    objective: Literal["size", "speed"] = "size"
    threads: int | None = None
    batch: int | None = None
    freeze_inputs: bool = False
    passes: tuple[str, ...] | None = None
    skip: tuple[str, ...] = ()
    keep: tuple[str, ...] = ()
    pass_settings: PassSettings = field(default_factory=dict)
    custom_ops: Path | None = None
    providers: tuple[str, ...] | None = None
    level: int = 6
    keep_names: bool = False
    n_jobs: int = 1
    seed: int = 0
    overwrite: bool = False
    cache: Path | None = None
    cache_size: int = _CACHE_SIZE
    cluster: str | None = None

    def __post_init__(self) -> None:
        """Check every setting and what goes together; bring each to its one type."""
        for name, read in _READERS.items():
            object.__setattr__(self, name, read(name, getattr(self, name)))
        _check_combination(self)

    @property
    def metric_name(self) -> str:
        """What the metric is called: its name, or the qualified name of the user's function."""
        return self.metric if isinstance(self.metric, str) else name_of(self.metric)

    @property
    def files(self) -> tuple[Path, ...]:
        """The files that the settings name, and those in a folder of calibration data."""
        named = [p for p in (self.calibration, self.labels, self.custom_ops) if isinstance(p, Path)]
        inside = [path for folder in named if folder.is_dir() for path in folder.iterdir()]
        return (*named, *inside)

    def described(self) -> dict[str, Scalar]:
        """Return the settings that shape the result, as scalars for the report.

        What shapes nothing (`OF_ONE_RUN`), or is None and has no default to speak of, is left out.
        """
        named = {
            "metric": self.metric_name,
            "passes": "all" if self.passes is None else self.passes,
            "providers": "all" if self.providers is None else self.providers,
            "calibration": "generated inputs" if self.calibration is None else self.calibration,
        }
        left_out = {"pass_settings", *OF_ONE_RUN}
        values = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in left_out}
        for pass_name, given in self.pass_settings.items():
            values.update({f"{pass_name}.{key}": value for key, value in given.items()})
        told = {**values, **named}
        return {key: _described(value) for key, value in told.items() if value is not None}


@dataclass(frozen=True, eq=False)
class Result:
    """What `compress` returns: the compressed model and the report on it.

    Attributes:
        model: self-contained ModelProto; None above 2 GiB, where only a file can hold the model.
        report: the record that a report file holds.
    """

    model: ModelProto | None
    report: Report

    def _repr_html_(self) -> str:
        """Return what a notebook shows: the report."""
        return self.report._repr_html_()


USED_BY_VERIFY = frozenset(
    {"calibration", "labels", "metric", "tolerance", "custom_ops", "providers", "seed"}
)
_NEEDS_ORIGINAL = ("labels", "metric", "tolerance", "providers")


def check_for_verify(given: Iterable[str], *, has_original: bool) -> None:
    """Refuse settings that `verify` does not use.

    Args:
        given: names of settings.
        has_original: whether there is a model to compare with.

    Raises:
        UsageError: one of them has no effect.
    """
    names = set(given)
    if unused := sorted(names - USED_BY_VERIFY):
        raise UsageError(f"`{unused[0]}` has no meaning for a test; it belongs to compressing")
    if not has_original and (lonely := [name for name in _NEEDS_ORIGINAL if name in names]):
        raise UsageError(f"`{lonely[0]}` needs `against`, the original model; name it too")


def for_verify(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of a test: labels say by themselves that answers are judged."""
    implied = {"metric": "top1"} if given.get("labels") is not None else {}
    return {**implied, **{name: value for name, value in given.items() if value is not None}}


def _described(value: object) -> Scalar:
    if isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    return str(value) if isinstance(value, Path) else type(value).__name__


Reader: TypeAlias = Callable[[str, object], object]


def _optional(read: Reader) -> Reader:
    return lambda name, value: None if value is None else read(name, value)


_MAX_JOBS = 8192
"""The most cores that Linux knows (NR_CPUS of x86): who asks for more has mistyped it."""

_MAX_BATCH = 1 << 20
"""A million samples in a run: who asks for more has mistyped it."""

_MAX_SEED = 2**63 - 1
"""What int64 holds: other programs read the seeds in reports, and no pass takes larger ones."""

_READERS: Mapping[str, Reader] = {
    "calibration": _optional(read_calibration),
    "labels": _optional(read_labels),
    "metric": read_metric,
    "tolerance": _optional(read_number),
    "best_effort": read_flag,
    **dict.fromkeys(("target_size", "load_memory", "max_memory"), _optional(read_size)),
    "objective": read_objective,
    "threads": _optional(lambda name, value: read_whole(name, value, 1, _MAX_JOBS)),
    "batch": _optional(lambda name, value: read_whole(name, value, 1, _MAX_BATCH)),
    "freeze_inputs": read_flag,
    "passes": _optional(read_some_names),
    "skip": read_names,
    "keep": read_names,
    "pass_settings": read_pass_settings,
    "custom_ops": _optional(read_path),
    "providers": _optional(read_some_names),
    "level": lambda name, value: read_whole(name, value, 1, 9),
    "keep_names": read_flag,
    "n_jobs": lambda name, value: read_whole(name, value, 1, _MAX_JOBS),
    "seed": lambda name, value: read_whole(name, value, 0, _MAX_SEED),
    "overwrite": read_flag,
    "cache": _optional(read_path),
    "cache_size": read_size,
    "cluster": _optional(read_address),
}
"""What reads each setting, by its name; levels are those of codec/level.py."""


def _check_combination(options: Options) -> None:
    """Refuse settings that contradict each other, or that need another one."""
    _check_timing(options)
    if options.cache is None and options.cache_size != _CACHE_SIZE:
        raise UsageError("`cache_size` bounds what `cache` keeps; name that folder, or leave it out")
    is_top1 = options.metric == "top1"
    has_default = isinstance(options.metric, str) and ":" not in options.metric
    if options.target_size is not None and options.tolerance is not None:
        raise UsageError("`target_size` stands instead of `tolerance`; leave one of them out")
    if options.labels is not None and not is_top1:
        raise UsageError(f"`labels` belong to `metric` top1, not {options.metric_name}; leave one out")
    if options.labels is not None and options.calibration is None:
        raise UsageError("`labels` need `calibration`, the data they label; pass both")
    if is_top1 and options.tolerance is not None and options.tolerance >= 1:
        raise UsageError(
            f"`tolerance` {options.tolerance:g} of top1 is not a fraction below 1; 0.01 is one point"
        )
    if not has_default and options.tolerance is None and options.target_size is None:
        raise UsageError(f"`metric` {options.metric_name} has no default limit; pass `tolerance`")


def _check_timing(options: Options) -> None:
    """Refuse what says how runs are timed, where none is."""
    for name in ("threads", "batch"):
        if getattr(options, name) is not None and options.objective != "speed":
            raise UsageError(
                f"`{name}` says what `objective` speed times runs with; ask for that, or leave it out"
            )
