"""All that results follow from besides what is measured: our code, libraries, the processor.

A library of another version, or the same on another processor, adds up in another order: a result of
theirs would be as good, but not the same to the last bit.
"""

from __future__ import annotations

import platform
from collections.abc import Mapping
from functools import cache
from importlib.metadata import version
from pathlib import Path

from threadpoolctl import threadpool_info

from onnxzip.disk.cache.content import digest
from onnxzip.propose.registry import folders_of_passes
from onnxzip.runtime.session import n_cores
from onnxzip.runtime.timing.processor import this_processor

_LIBRARIES = (
    *("numpy", "scipy", "onnx", "onnxruntime", "onnx-graphsurgeon", "PyWavelets", "ml_dtypes"),
    "Pillow",
)
"""What computes, or reads or makes what is computed on."""

_SHOWN_DIGITS = 8
"""Of the digest of our code: enough to see that two differ."""


@cache
def code() -> Mapping[str, str]:
    """Return the versions of what a process runs, by name.

    Of onnxzip the code itself: its version stays the same while somebody works on it, or adds a pass.
    """
    sources = [_code_in(folder) for folder in (Path(__file__).parents[2], *folders_of_passes())]
    own = f"{version('onnxzip')} (code {digest(sources)[:_SHOWN_DIGITS]})"
    libraries = {name: version(name) for name in _LIBRARIES}
    return {"onnxzip": own, "Python": platform.python_version(), **libraries}


def arithmetic() -> str:
    """Return what decides in which order a process adds up: its processor, and what BLAS makes of it."""
    pools = [pool for pool in threadpool_info() if pool["user_api"] == "blas"]
    kernels = sorted({f"{pool['internal_api']} {pool.get('architecture')}" for pool in pools})
    return ", ".join([platform.machine(), this_processor().name, *kernels])


def surroundings(custom_ops: Path | None) -> str:
    """Return a digest of what this process computes with.

    Args:
        custom_ops: library of custom operators.
    """
    library = None if custom_ops is None else custom_ops.read_bytes()
    return digest(code(), arithmetic(), n_cores(), library)


def _code_in(folder: Path) -> list[tuple[str, bytes]]:
    paths = sorted(folder.rglob("*.py"))
    return [(path.relative_to(folder).as_posix(), path.read_bytes()) for path in paths]
