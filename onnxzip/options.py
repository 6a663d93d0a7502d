"""What a user may ask for and what comes back, for the command line and the Python interface."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from onnxzip.records.aliases import Array, Scalar
from onnxzip.report.record import Report

if TYPE_CHECKING:
    from onnxzip.graph import ModelProto
    from onnxzip.inputs.from_files import CalibrationSource


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

    def described(self) -> dict[str, Scalar]:
        """Return the settings that shape the result, as scalars for the report."""
        settings: dict[str, Scalar] = {
            "metric": self.metric,
            "objective": self.objective,
            "passes": "all" if self.passes is None else ",".join(self.passes),
            "skip": ",".join(self.skip),
            "keep": ",".join(self.keep),
            "seed": self.seed,
            "calibration": _describe_calibration(self.calibration),
        }
        if self.tolerance is not None:
            settings["tolerance"] = self.tolerance
        if self.target_size is not None:
            settings["target_size"] = self.target_size
        for pass_name, values in self.pass_settings.items():
            settings.update({f"{pass_name}.{key}": _scalar(value) for key, value in values.items()})
        return settings


@dataclass(frozen=True, eq=False)
class Result:
    """What `compress` returns: the compressed model and the report on it.

    Attributes:
        model: self-contained ModelProto; None above 2 GiB, where only a file can hold the model.
        report: the record that --report writes.
    """

    model: ModelProto | None
    report: Report


def _scalar(value: object) -> Scalar:
    return value if isinstance(value, bool | int | float | str) else str(value)


def _describe_calibration(calibration: CalibrationSource | None) -> str:
    if calibration is None:
        return "generated inputs"
    return str(calibration) if isinstance(calibration, str | Path) else type(calibration).__name__
