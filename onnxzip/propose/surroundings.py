"""All that results follow from besides what is measured: our code, libraries, the processor.

A library of another version, or the same on another processor, adds up in another order: a result of
theirs would be as good, but not the same to the last bit.
"""

from __future__ import annotations

import platform
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from threadpoolctl import threadpool_info

from onnxzip.disk.cache.content import digest
from onnxzip.runtime.session import n_cores
from onnxzip.runtime.timing.processor import this_processor

_PACKAGES = (
    *("onnxzip", "numpy", "scipy", "onnx", "onnxruntime", "onnx-graphsurgeon", "PyWavelets"),
    *("ml_dtypes", "Pillow"),
)
"""What computes, or reads or makes what is computed on."""


def surroundings(passes: Sequence[Path], custom_ops: Path | None) -> str:
    """Return a digest of what this process computes with.

    Args:
        passes: the folders of the passes, which a user may have added some to.
        custom_ops: library of custom operators.
    """
    blas = [
        (pool["internal_api"], str(pool["version"]), str(pool.get("architecture")))
        for pool in threadpool_info()
        if pool["user_api"] == "blas"
    ]
    sources = [Path(__file__).parents[1], *passes]
    return digest(
        [(name, version(name)) for name in _PACKAGES],
        [_code_in(folder) for folder in sources],
        (platform.python_version(), platform.machine(), this_processor(), n_cores(), sorted(blas)),
        None if custom_ops is None else custom_ops.read_bytes(),
    )


def _code_in(folder: Path) -> list[tuple[str, bytes]]:
    """Return our own code: a version stays the same while somebody works on it, or adds a pass."""
    paths = sorted(folder.rglob("*.py"))
    return [(path.relative_to(folder).as_posix(), path.read_bytes()) for path in paths]
