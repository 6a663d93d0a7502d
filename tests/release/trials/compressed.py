"""Folders of compressed models beside their plain ones, which every runtime is tried on.

Each is a folder named after the model and the level: small.onnx, plain.onnx (what that decodes to) and
feeds.json, a list of inputs: for each name `type` ("float32" or "int64"), `dims` and the flat `data`.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx

import onnxzip

LEVELS = (1, 6, 9)
N_SAMPLES = (1, 4)
"""What free dimensions are: 1 first, as some runtimes know no other."""
MODELS = Path(__file__).parents[3] / "models"
_TYPES = {onnx.TensorProto.FLOAT: "float32", onnx.TensorProto.INT64: "int64"}


def parser(name: str) -> argparse.ArgumentParser:
    """Return a parser of what all checks on such folders are told."""
    made = argparse.ArgumentParser(prog=f"python -m tests.release.{name}")
    made.add_argument("work", type=Path, help="folder to work in; what is there is not made again")
    made.add_argument("--models", type=Path, nargs="+", default=[MODELS], help="folders of .onnx files")
    made.add_argument("--levels", type=int, nargs="+", default=LEVELS)
    return made


def make_pairs(work: Path, models: Sequence[Path], levels: Sequence[int]) -> list[Path]:
    """Return the folders of all models at all levels; those that are missing are made."""
    sources = sorted(path for folder in models for path in folder.glob("*.onnx"))
    pairs = []
    for source in sources:
        for level in levels:
            pair = work / "pairs" / f"{source.stem}.{level}"
            if not (pair / "feeds.json").exists():
                _write_pair(source, level, pair)
            pairs.append(pair)
    return pairs


def _write_pair(source: Path, level: int, pair: Path) -> None:
    pair.mkdir(parents=True, exist_ok=True)
    onnxzip.compress(source, pair / "small.onnx", level=level, overwrite=True)
    onnxzip.decompress(pair / "small.onnx", pair / "plain.onnx", overwrite=True)
    feeds = [dict(_feeds(source, n)) for n in N_SAMPLES]
    (pair / "feeds.json").write_text(json.dumps(feeds))


def _feeds(source: Path, n_samples: int) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield random inputs: float32 from 0 to 1, int64 of 0 and 1."""
    graph = onnx.load(source, load_external_data=False).graph
    rng = np.random.default_rng(0)
    stored = {tensor.name for tensor in graph.initializer}
    for port in graph.input:
        if port.name in stored:
            continue
        tensor = port.type.tensor_type
        dims = [axis.dim_value or n_samples for axis in tensor.shape.dim]
        kind = _TYPES[tensor.elem_type]
        data = rng.random(dims) if kind == "float32" else rng.integers(0, 2, dims)
        yield port.name, {"type": kind, "dims": dims, "data": data.astype(kind).ravel().tolist()}
