"""The Python interface: the command line's jobs as four functions with keyword arguments.

The heavy modules are imported in the functions, so that `import onnxzip` answers at once.
"""

from __future__ import annotations

import math
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from onnxzip.errors import UsageError
from onnxzip.options import Options, Result
from onnxzip.records.check import Check

if TYPE_CHECKING:
    from onnxzip.graph import ModelLike, ModelProto
    from onnxzip.report.record import Inspection


_LISTS = ("passes", "skip", "keep", "providers")


def compress(source: ModelLike, output: str | Path | None = None, **settings: Any) -> Result:
    """Compress a model within the loss allowed.

    Args:
        source: path, serialised model, or ModelProto (which is not changed).
        output: where to write; None only returns the model.
        **settings: the fields of `onnxzip.options.Options`: calibration, labels, metric, tolerance,
            objective, passes, skip, keep, pass_settings, custom_ops, providers, n_jobs, seed,
            overwrite.

    Returns:
        `.model`, a ModelProto, and `.report`, the record that --report writes.

    Raises:
        OnnxzipError: see `onnxzip.errors`; `output` is as it was.
    """
    from onnxzip import pipeline

    return pipeline.compress(source, output, options=_options(settings))


def verify(source: ModelLike, against: ModelLike | None = None, **settings: Any) -> tuple[Check, ...]:
    """Test a compressed model: it loads, decodes and folds; with `against`, what it loses.

    Args:
        source: the compressed model.
        against: the original.
        **settings: calibration, labels, metric, tolerance, providers, custom_ops, seed.

    Returns:
        The checks, passed or not.
    """
    from onnxzip import listing as archive

    return archive.verify(source, against, options=_options(settings))


def inspect(source: ModelLike) -> Inspection:
    """Say how each weight of a model is stored."""
    from onnxzip import listing as archive

    return archive.inspect(source)


def decompress(
    source: ModelLike, output: str | Path | None = None, *, overwrite: bool = False
) -> ModelProto | None:
    """Return (and write) the model with plain weights, bit for bit what the runtime decodes."""
    from onnxzip import listing as archive

    return archive.decompress(source, output, overwrite=overwrite)


def _options(settings: dict[str, Any]) -> Options:
    """Return checked options; a single name may stand for a tuple of names, a text for a path."""
    wrapped: dict[str, Any] = {
        k: (v,) for k, v in settings.items() if k in _LISTS and isinstance(v, str)
    }
    if isinstance(settings.get("custom_ops"), str):
        wrapped["custom_ops"] = Path(settings["custom_ops"])
    try:
        options = Options(**{**settings, **wrapped})
    except TypeError as error:
        known = ", ".join(field.name for field in fields(Options))
        raise UsageError(f"no such setting: {str(error).split()[-1]}; there are {known}") from error
    _check_numbers(options)
    if options.objective not in ("size", "speed"):
        raise UsageError(f"objective '{options.objective}' is neither 'size' nor 'speed'")
    return options


def _check_numbers(options: Options) -> None:
    tolerance = options.tolerance
    if tolerance is not None and not (isinstance(tolerance, int | float) and 0 < tolerance < math.inf):
        raise UsageError(f"tolerance {tolerance!r} is not a finite number above 0")
    for name, value, least in (("n_jobs", options.n_jobs, 1), ("seed", options.seed, 0)):
        if not isinstance(value, int) or value < least:
            raise UsageError(f"{name} {value!r} is not a whole number from {least}")
