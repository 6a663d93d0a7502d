"""Compresses several kinds of models with other values of one constant, to say what its value is worth.

    python -m tests.bench.constants MODULE:NAME VALUE [VALUE...] [--models FILE...]
        [--calibration FILE.npz] [--data FILE.npz] [--cifar FOLDER] [-- OPTIONS]

NAME is patched in MODULE and in every module of onnxzip that imported it from there; what took its
value when it was loaded (the default of an argument, a number made from it) keeps that. A VALUE is a
Python literal. By default the models are the four of models/ (CNN, autoencoder, attention, GRU),
calibrated with models/digits_calibration.npz (`--calibration none` generates inputs). The true loss is
|y - y'| / |y| of the worst output on --data, models/digits_test.npz, which nothing was fitted to. FOLDER
has resnet20.onnx and cifar10.npz (see tests.bench.cifar). What stands behind -- goes to onnxzip.

Sizes compare at equal loss only: a file that is smaller and loses more has gained nothing.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import importlib
import io
import json
import pkgutil
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest import mock

import numpy as np
import onnxruntime as ort

import onnxzip
from onnxzip.cli.main import main as run_onnxzip
from tests.bench.cifar import feed_of
from tests.bench.command import split

MODELS = Path(__file__).parents[2] / "models"
KINDS = ("digits_cnn", "digits_autoencoder", "digits_attention", "digits_gru")
COLUMNS = ("model", "value", "bytes", "to the first", "stated loss", "true loss", "seconds")
BATCH = 100
"""Samples in a run while the true loss is measured: a few hundred images fit into any memory."""


@dataclass(frozen=True)
class Subject:
    """A model with what it is calibrated with and what it is judged on.

    Attributes:
        calibration: a file, or "" for generated inputs.
        data: what nothing is fitted to, (n, ...) arrays by input name.
    """

    model: Path
    calibration: str
    data: Mapping[str, np.ndarray]


def holders(module: ModuleType, name: str) -> list[ModuleType]:
    """Return all modules of onnxzip that hold the module's constant under its own name."""
    value = getattr(module, name)
    for found in pkgutil.walk_packages(onnxzip.__path__, "onnxzip."):
        if not found.name.endswith("__main__"):
            importlib.import_module(found.name)
    loaded = [m for n, m in sorted(sys.modules.items()) if n.startswith("onnxzip.")]
    return [m for m in loaded if m is module or getattr(m, name, None) is value]


@contextlib.contextmanager
def patched(place: str, value: object) -> Iterator[None]:
    """Give a constant, "MODULE:NAME", another value."""
    module_name, name = place.split(":")
    with contextlib.ExitStack() as stack:
        for holder in holders(importlib.import_module(module_name), name):
            stack.enter_context(mock.patch.object(holder, name, value))
        yield


def outputs_of(model: Path, data: Mapping[str, np.ndarray]) -> list[np.ndarray]:
    """Return a model's outputs as float64, all samples joined."""
    session = ort.InferenceSession(model, providers=["CPUExecutionProvider"])
    n = len(next(iter(data.values())))
    cuts = [{name: array[i : i + BATCH] for name, array in data.items()} for i in range(0, n, BATCH)]
    runs = [session.run(None, cut) for cut in cuts]
    return [np.concatenate(parts).astype(np.float64) for parts in zip(*runs, strict=True)]


def true_loss(before: Path, after: Path, data: Mapping[str, np.ndarray]) -> float:
    """Return |y - y'| / |y| of the worst output."""
    pairs = zip(outputs_of(before, data), outputs_of(after, data), strict=True)
    return max(float(np.linalg.norm(y - z) / np.linalg.norm(y)) for y, z in pairs)


def measure(subject: Subject, options: list[str]) -> tuple[int, float, float, float] | str:
    """Return bytes, stated loss, true loss and seconds; what onnxzip says where there is no file."""
    with tempfile.TemporaryDirectory() as folder:
        output, report = Path(folder) / "out.onnx", Path(folder) / "report.json"
        with_data = ["-c", subject.calibration] if subject.calibration else []
        arguments = ["-q", "--report", str(report), *with_data, *options]
        started = time.perf_counter()
        with contextlib.redirect_stderr(io.StringIO()) as said:
            status = run_onnxzip([*arguments, str(subject.model), str(output)])
        seconds = time.perf_counter() - started
        if status:
            return said.getvalue().strip()
        checks = json.loads(report.read_text(encoding="utf-8"))["checks"]
        stated = max(float(check["value"]) for check in checks if check["kind"] == "drift")
        loss = true_loss(subject.model, output, subject.data)
        return output.stat().st_size, stated, loss, seconds


def subjects(options: argparse.Namespace, work: Path) -> Iterator[Subject]:
    """Yield the models that were asked for."""
    calibration = "" if options.calibration == "none" else options.calibration
    with np.load(options.data) as data:
        arrays = dict(data)
    for model in options.models:
        yield Subject(Path(model), calibration, arrays)
    if options.cifar:
        with np.load(Path(options.cifar) / "cifar10.npz") as images:
            file = str(work / "cifar_calibration.npz")
            np.savez(file, input=feed_of(images["calibration"]))
            test = {"input": feed_of(images["test"][:2000])}
        yield Subject(Path(options.cifar) / "resnet20.onnx", calibration and file, test)


def parse(arguments: list[str]) -> argparse.Namespace:
    """Read what stands before --."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.constants")
    parser.add_argument("place", metavar="MODULE:NAME")
    parser.add_argument("values", metavar="VALUE", nargs="+", type=ast.literal_eval)
    parser.add_argument("--models", nargs="*", default=[MODELS / f"{kind}.onnx" for kind in KINDS])
    parser.add_argument("--calibration", default=str(MODELS / "digits_calibration.npz"))
    parser.add_argument("--data", default=str(MODELS / "digits_test.npz"))
    parser.add_argument("--cifar", metavar="FOLDER")
    return parser.parse_args(arguments)


def row(*cells: Any) -> None:
    """Print a row of the table."""
    print("|", " | ".join(map(str, cells)), "|", flush=True)


def main(arguments: list[str]) -> int:
    """Print one table."""
    before, options = split(arguments)
    asked = parse(before)
    row(*COLUMNS)
    row(*["---"] * len(COLUMNS))
    with tempfile.TemporaryDirectory() as work:
        for subject in subjects(asked, Path(work)):
            first = 0
            for value in asked.values:
                with patched(asked.place, value):
                    found = measure(subject, options)
                if isinstance(found, str):
                    row(subject.model.stem, value, found, *["-"] * (len(COLUMNS) - 3))
                    continue
                n_bytes, stated, loss, seconds = found
                first = first or n_bytes
                losses = f"{stated:.4f}", f"{loss:.4f}"
                row(
                    subject.model.stem,
                    value,
                    f"{n_bytes:,}",
                    f"{n_bytes / first:.3f}",
                    *losses,
                    f"{seconds:.1f}",
                )
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
