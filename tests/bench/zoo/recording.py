"""Takes a package's own code and writes down what it feeds its model: nothing is prepared twice."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import onnxruntime as ort

from tests.bench.zoo.model import Feeds, session_of


class Recorder:
    """Stands in for a session and keeps what it is fed."""

    def __init__(self, file: Path) -> None:
        self.session: ort.InferenceSession = session_of(file)
        self.fed: list[Feeds] = []

    def get_inputs(self) -> list[ort.NodeArg]:
        """Return what the model's inputs are called, which some packages ask."""
        return list(self.session.get_inputs())

    def run(self, names: list[str] | None, feeds: Feeds) -> list[np.ndarray]:
        """Run the model and write its feeds down."""
        self.fed.append({name: np.asarray(value) for name, value in feeds.items()})
        return list(self.session.run(names, feeds))


def module_of(folder: Path, package: str, name: str) -> ModuleType:
    """Import a module of an unpacked package."""
    sys.path.append(str(folder / package))
    return importlib.import_module(name)


def module_at(file: Path) -> ModuleType:
    """Import one file alone, for packages whose own import needs more than it."""
    spec = importlib.util.spec_from_file_location(f"zoo_{file.stem}", file)
    if spec is None or spec.loader is None:
        raise FileNotFoundError(file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
