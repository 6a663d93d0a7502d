"""What a user may ask for and what comes back, for the command line and the Python interface."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from onnxzip.types import Array, Report, Scalar

if TYPE_CHECKING:
    from onnxzip.calibrate import CalibrationSource
    from onnxzip.graph import ModelProto


@dataclass(frozen=True)
class Options:
    """Settings of `compress` and `verify`; the defaults are the command line's.

    Attributes:
        calibration: the user's data, see `calibrate.load_calibration`; None generates inputs.
        labels: class labels for the metric "top1", a .npy file or an integer array.
        metric: "rel_l2", "cosine", "psnr", "top1" or "module:function".
        tolerance: largest loss in the metric's unit; None takes the metric's default.
        target_size: bytes the file may take, instead of a tolerance; the loss is measured and stated.
        objective: "size" keeps weights in stored form, "speed" also uses the computed form.
        passes: names of the passes to use; None for all.
        skip: names of passes to leave out.
        keep: shell patterns of weight names to leave alone.
        pass_settings: values for passes' dataclass fields, by pass name.
        custom_ops: library of custom operators to register with onnxruntime.
        providers: execution providers to validate on; None for the CPU and every accelerator.
        level: 1 (packs fast, loads fast) to 9 (smallest), see `onnxzip.levels`.
        keep_names: leave internal names, doc strings and value_info as they are (from level 6 on
            they are shortened or dropped).
        n_jobs: layers worked on at the same time.
        seed: seed of generated inputs and of randomised passes.
        overwrite: replace an existing output file.
    """

    calibration: CalibrationSource | None = None
    labels: str | Path | Array | None = None
    metric: str = "rel_l2"
    tolerance: float | None = None
    target_size: int | None = None
    objective: Literal["size", "speed"] = "size"
    passes: tuple[str, ...] | None = None
    skip: tuple[str, ...] = ()
    keep: tuple[str, ...] = ()
    pass_settings: Mapping[str, Mapping[str, Scalar]] = field(default_factory=dict)
    custom_ops: Path | None = None
    providers: tuple[str, ...] | None = None
    level: int = 6
    keep_names: bool = False
    n_jobs: int = 1
    seed: int = 0
    overwrite: bool = False


@dataclass(frozen=True, eq=False)
class Result:
    """What `compress` returns: the compressed model and the report on it.

    Attributes:
        model: self-contained ModelProto; None above 2 GiB, where only a file can hold the model.
        report: the record that --report writes.
    """

    model: ModelProto | None
    report: Report
