"""A new pass is one new file: it is found, held to the contract, offered as an option and used."""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NEW_PASS = '''"""Rounds a weight without the mean of each of its rows: W = integers * steps + mean."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from onnxzip.passbase import Builder, Codec, Pass
from onnxzip.records.aliases import Form, Scalar
from onnxzip.records.layer import Layer
from onnxzip.records.payload import Encoded
from onnxzip.records.plan import Candidate, Skip

from ._examples import example_layers
from ._shared import as_segments, payload, rate_ladder, refusal_of_transforms


@dataclass(frozen=True)
class RowMeans(Pass):
    name: ClassVar[str] = "row_means"
    examples: ClassVar[tuple[Layer, ...]] = example_layers()

    share: float = 1.0

    def candidates(
        self, layer: Layer, codec: Codec, forms: Sequence[Form]
    ) -> Iterator[Candidate | Skip]:
        if "stored" not in forms:
            yield Skip(layer.name, self.name, "means have no computed form")
        elif (skip := refusal_of_transforms(layer, self.name)) is not None:
            yield skip
        else:
            given = {"share": self.share}
            encode = lambda rate: self.encode(layer, {"rate": rate, **given}, codec)  # noqa: E731
            yield from rate_ladder(layer, self.name, given, encode, _decode, codec=codec, n_nodes=3)

    def encode(self, layer: Layer, settings: Mapping[str, Scalar], codec: Codec) -> Encoded:
        means = layer.plane().mean(axis=1, keepdims=True) * np.float32(settings["share"])
        segments = as_segments(layer.plane() - means)
        return Encoded({"rest": codec.quantize(segments, float(settings["rate"]))}, {}, {"means": means})

    def restore(self, candidate: Candidate) -> NDArray[np.float32]:
        return _decode(payload(candidate)).reshape(candidate.layer.canonical_shape)

    def emit(self, candidate: Candidate, builder: Builder) -> None:
        layer, encoded = candidate.layer, payload(candidate)
        shape = (layer.n_rows, layer.n_columns)
        rest = builder.reshape(builder.coefficients(encoded.coefficients["rest"]), shape)
        means = builder.constant(encoded.tables["means"])
        builder.replace_weight(layer, builder.node("Add", [rest, means], shape, np.float32))


def _decode(encoded: Encoded) -> NDArray[np.float32]:
    means = encoded.tables["means"]
    return encoded.coefficients["rest"].values().reshape(len(means), -1) + means
'''


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of the sources and of the contract test, and the new pass's file."""
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "onnxzip", tmp_path / "onnxzip", ignore=ignored)
    shutil.copytree(ROOT / "passes", tmp_path / "onnxzip" / "passes", ignore=ignored)
    for name in ("pyproject.toml", "tests/fakes.py", "tests/passes/test_contract.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    (tmp_path / "onnxzip" / "passes" / "row_means.py").write_text(NEW_PASS)
    return tmp_path


def run_python(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(folder)}
    command = [sys.executable, *arguments]
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )


def test_a_new_pass_keeps_the_contract(copy: Path) -> None:
    assert NEW_PASS.count("\n") < 60
    contract = str(copy / "tests" / "passes" / "test_contract.py")
    result = run_python(copy, "-m", "pytest", "-p", "no:cacheprovider", contract, "-k", "row_means")
    assert result.returncode == 0, result.stdout[-3000:]
    assert "[100%]" in result.stdout


def test_a_new_pass_has_its_options_and_makes_files(copy: Path) -> None:
    source, target = ROOT / "models" / "digits_cnn.onnx", copy / "small.onnx"
    options = ("--passes", "row_means", "--row-means-share", "0.9", "--tolerance", "0.3")
    result = run_python(copy, "-m", "onnxzip", "-q", *options, str(source), str(target))
    assert result.returncode == 0, result.stderr
    assert target.stat().st_size < source.stat().st_size / 3
    listed = run_python(copy, "-m", "onnxzip", "-l", str(target))
    assert "row_means" in listed.stdout


def test_passes_import_underscored_files_only() -> None:
    """What passes share is not hidden in one of them."""
    for path in (ROOT / "passes").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and node.level:
                names = [node.module] if node.module else [alias.name for alias in node.names]
                assert all(name.startswith("_") for name in names), f"{path.name}: {names}"
