"""onnxzip as atheris watches it, where atheris is installed: imported here before anybody else does."""

from __future__ import annotations

import importlib.util
from contextlib import nullcontext

HAS_ATHERIS = importlib.util.find_spec("atheris") is not None
if HAS_ATHERIS:
    import atheris
else:
    atheris = None

with atheris.instrument_imports(include=["onnxzip"]) if HAS_ATHERIS else nullcontext():
    import onnxzip
    from onnxzip import graph, listing
    from onnxzip.errors import OnnxzipError

__all__ = ["HAS_ATHERIS", "OnnxzipError", "atheris", "graph", "listing", "onnxzip"]
