"""The Python interface: the command line's jobs as four functions with keyword arguments.

The heavy modules are imported in the functions, so that `import onnxzip` answers at once.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from onnxzip.errors import UsageError
from onnxzip.options import Options, Result
from onnxzip.types import Check

if TYPE_CHECKING:
    from onnxzip.graph import ModelProto
    from onnxzip.pipeline import Source
    from onnxzip.tables import Inspection


def compress(source: Source, output: str | Path | None = None, **settings: Any) -> Result:
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


def verify(source: Source, against: Source | None = None, **settings: Any) -> tuple[Check, ...]:
    """Test a compressed model: it loads, decodes and folds; with `against`, what it loses.

    Args:
        source: the compressed model.
        against: the original.
        **settings: calibration, labels, metric, tolerance, providers, custom_ops, seed.

    Returns:
        The checks, passed or not.
    """
    from onnxzip import archive

    return archive.verify(source, against, options=_options(settings))


def inspect(source: Source) -> Inspection:
    """Say how each weight of a model is stored."""
    from onnxzip import archive

    return archive.inspect(source)


def decompress(
    source: Source, output: str | Path | None = None, *, overwrite: bool = False
) -> ModelProto | None:
    """Return (and write) the model with plain weights, bit for bit what the runtime decodes."""
    from onnxzip import archive

    return archive.decompress(source, output, overwrite=overwrite)


def _options(settings: dict[str, Any]) -> Options:
    try:
        return Options(**settings)
    except TypeError as error:
        raise UsageError(f"no such setting: {error}") from error
