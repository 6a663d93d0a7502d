"""The settings of the Python interface as types: what may be given, which is wider than `Options`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from os import PathLike
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypedDict

import numpy as np

from onnxzip.options.record import UserFunction
from onnxzip.records.aliases import Scalar

if TYPE_CHECKING:
    from onnxzip.inputs.given.arrays import ArrayLike
    from onnxzip.inputs.given.from_python import CalibrationSource

Number: TypeAlias = float | np.floating[Any] | np.integer[Any]
WholeNumber: TypeAlias = int | np.integer[Any]
AnyPath: TypeAlias = str | PathLike[str]


class VerifySettings(TypedDict, total=False):
    """Settings of `verify`; see `onnxzip.Options`."""

    calibration: CalibrationSource | None
    labels: AnyPath | ArrayLike | Sequence[int] | None
    metric: str | UserFunction
    tolerance: Number | None
    custom_ops: AnyPath | None
    providers: str | Sequence[str] | None
    seed: WholeNumber


class Settings(VerifySettings, total=False):
    """Settings of `compress`; see `onnxzip.Options`."""

    best_effort: bool
    target_size: WholeNumber | str | None
    load_memory: WholeNumber | str | None
    max_memory: WholeNumber | str | None
    objective: Literal["size", "speed"]
    threads: WholeNumber | None
    batch: WholeNumber | None
    freeze_inputs: bool
    passes: str | Sequence[str] | None
    skip: str | Sequence[str]
    keep: str | Sequence[str]
    pass_settings: Mapping[str, Mapping[str, Scalar | Sequence[Scalar]]]
    level: WholeNumber
    keep_names: bool
    n_jobs: WholeNumber
    overwrite: bool
    cache: AnyPath | None
    cache_size: WholeNumber | str
    cluster: str | None
