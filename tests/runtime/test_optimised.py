"""Where the optimised graph cannot be written, that is no fault of the model."""

from __future__ import annotations

import resource
import tempfile
from pathlib import Path

import pytest

from onnxzip.errors import ModelError, OutputError
from onnxzip.graph import read_model
from onnxzip.graph.writing.loadable import loadable
from onnxzip.runtime.loadable import LoadableModel
from onnxzip.runtime.optimised import optimised_model
from tests.cases import CASES


def test_a_full_disk_is_told_as_such(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    model = loadable(read_model(CASES["two_layer_perceptron"].build()))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with pytest.raises(OutputError, match=rf"^{tmp_path}: has no room .*TMPDIR"):
            optimised_model(model)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not list(tmp_path.glob(".onnxzip-*"))
    assert optimised_model(model)


def test_a_fault_of_the_model_stays_one() -> None:
    with pytest.raises(ModelError, match="cannot load it"):
        optimised_model(LoadableModel(b"no model", "in.onnx"))
