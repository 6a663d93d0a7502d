"""Compares onnxzip with other ways of making CIFAR-10 classifiers smaller: one table from one run.

    python -m tests.bench.peers FOLDER MODEL... [--peers-python PYTHON] [--skip PEER] -- --tolerance 0.2

FOLDER is that of tests.bench.cifar, with `calibration_labels` too. What stands behind -- goes to onnxzip
with the calibration images; a further -- begins a further row. onnxzip runs in this interpreter, peers
in processes of PYTHON (default: this one); what that cannot import is "not installed" in the table.

A peer with several settings gives its smallest file among those that lose at most 1.0 point of top-1 on
the calibration images, or, where there is none, the one that loses least. The test images are seen by
this process alone, and used for nothing but the table.
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort

from tests.bench.cifar import accuracy, feed_of
from tests.bench.command import compress, split

LIMIT = 1.0  # points of top-1 on the calibration images
COLUMNS = ("model", "method", "setting", "bytes", "ratio", "top-1", "drop", "stock onnxruntime loads it")


@dataclass(frozen=True)
class Try:
    """A setting's outcome: the file to ship, the model it stands for, and points lost in calibration."""

    setting: str
    file: Path
    model: Path
    drop: float

    def rank(self) -> tuple[bool, float]:
        """Return what orders tries: those within the limit by size, then the others by loss."""
        return (True, self.drop) if self.drop > LIMIT else (False, self.file.stat().st_size)


class Task:
    """What a peer gets: a model, calibration images and a scratch folder."""

    def __init__(self, source: Path, folder: Path, images: np.ndarray, labels: np.ndarray) -> None:
        self.source, self.folder, self.images, self.labels = source, folder, images, labels
        self._top1 = self.top1(source)

    def half(self, start: int) -> Task:
        """Return the same task with every second image."""
        return Task(self.source, self.folder, self.images[start::2], self.labels[start::2])

    def top1(self, model: Path) -> float:
        """Return the accuracy on the calibration images, in percent."""
        return accuracy(model, self.images, self.labels)

    def path(self, suffix: str = ".onnx") -> Path:
        """Return a new path."""
        return self.folder / f"{len(list(self.folder.iterdir()))}{suffix}"

    def judge(self, setting: str, file: Path, model: Path | None = None) -> Try:
        """Return a try; one that onnxruntime does not run loses everything."""
        try:
            drop = self._top1 - self.top1(model or file)
        except Exception as error:  # onnxruntime's errors have no closer base in common
            print(f"{setting}: {error}", file=sys.stderr)
            drop = math.inf
        print(f"{setting}: {file.stat().st_size:,} bytes, drop {drop:.2f}", file=sys.stderr, flush=True)
        return Try(setting, file, model or file, drop)


def list_options(options: dict[str, Any]) -> str:
    """Return options as a cell's text."""
    return ", ".join(f"{name} {value}" for name, value in options.items())


class Reader:
    """Hands calibration images to onnxruntime, in batches."""

    def __init__(self, name: str, images: np.ndarray) -> None:
        self._feeds = iter([{name: images[i : i + 64]} for i in range(0, len(images), 64)])

    def get_next(self) -> dict[str, np.ndarray] | None:
        """Return the next feed, or None behind the last."""
        return next(self._feeds, None)


def try_float16(task: Task) -> Iterator[Try]:
    """Weights and arithmetic in float16, inputs and outputs as they were."""
    import onnx
    from onnxruntime.transformers.float16 import convert_float_to_float16

    output = task.path()
    onnx.save(convert_float_to_float16(onnx.load(task.source), keep_io_types=True), output)
    yield task.judge("keep_io_types", output)


def try_dynamic(task: Task) -> Iterator[Try]:
    """Integer weights, activations quantised as the model runs; default operators, Conv among them."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    for kind, per_channel in product((QuantType.QInt8, QuantType.QUInt8), (False, True)):
        output = task.path()
        quantize_dynamic(task.source, output, weight_type=kind, per_channel=per_channel)
        yield task.judge(f"{kind} weights{', per channel' * per_channel}", output)


def quantise(source: Path, ready: Path, output: Path, images: np.ndarray, *, per_channel: bool) -> None:
    """Write QDQ after onnxruntime's own preparation (to `ready`), ranges from calibration images."""
    from onnxruntime.quantization import QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    quant_pre_process(source, ready)
    quantize_static(
        ready,
        output,
        Reader(ort.InferenceSession(source).get_inputs()[0].name, images),
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        per_channel=per_channel,
    )


def try_static(task: Task) -> Iterator[Try]:
    """QDQ, a scale for each channel."""
    ready, output = task.path("-ready.onnx"), task.path("-static.onnx")
    quantise(task.source, ready, output, task.images, per_channel=True)
    yield task.judge("QDQ, u8 activations, s8 weights, per channel", output)


def try_shrink_ray(task: Task) -> Iterator[Try]:
    """Two of its methods, on smaller tensors too; the third one is onnxruntime's dynamic int8."""
    import onnx
    from onnx_shrink_ray import shrink

    ways: list[dict[str, Any]] = [{"float_quantization": True, "float_levels": n} for n in (256, 64)]
    ways += [{"min_elements": n, "per_channel": c} for n in (16384, 1024, 64) for c in (False, True)]
    for options in ways:
        output = task.path()
        onnx.save(shrink.quantize_weights(onnx.load(task.source), **options), output)
        yield task.judge(list_options(options), output)


class Bitstreams:
    """Codes float weights with NNCodec, not the graph; its `ioq` tunes each step by TUNE's top-1."""

    def __init__(self, task: Task, tune: Task) -> None:
        import onnx
        from nncodec import nnc
        from nncodec.nnc_core.nnr_model import ModelExecute

        self._task, self._tune, self._onnx, self._nnc = task, tune, onnx, nnc
        self._model = onnx.load(task.source)
        tensors = [t for t in self._model.graph.initializer if t.data_type == onnx.TensorProto.FLOAT]
        self._tensors = {str(i): t for i, t in enumerate(tensors)}  # names are coded too: short ones
        self._weights = {i: onnx.numpy_helper.to_array(t).copy() for i, t in self._tensors.items()}
        answers = {"has_eval": True, "has_test": False, "has_tune_ft": False, "has_tune_lsa": False}
        methods: dict[str, Any] = {k: lambda _, answer=v: answer for k, v in answers.items()}
        methods["eval_model"] = self._evaluate
        self._executer = type("Executer", (ModelExecute,), methods)()

    def _evaluate(self, weights: dict[str, np.ndarray], *_: Any) -> dict[str, float]:
        return {"top1": self._tune.top1(self._restore(weights, self._task.folder / "trial.onnx"))}

    def _restore(self, weights: dict[str, np.ndarray], path: Path) -> Path:
        for name, values in weights.items():
            tensor, shape = self._tensors[name], self._weights[name].shape
            shaped = np.asarray(values, np.float32).reshape(shape)
            tensor.CopyFrom(self._onnx.numpy_helper.from_array(shaped, tensor.name))
        self._onnx.save(self._model, path)
        return path

    def code(self, **options: Any) -> Try:
        """Encode, decode and judge."""
        file = self._task.path(".nnc")
        settings = {"use_dq": True, "row_skipping": True, "model_executer": self._executer}
        self._nnc.compress(self._weights, str(file), **options, **settings)
        model = self._restore(self._nnc.decompress(str(file)), self._task.path("-nnc.onnx"))
        return self._task.judge(list_options(options), file, model)

    def scan(self, coarsest: int, **options: Any) -> tuple[Try, int]:
        """Go to finer steps until the loss is within the limit; return that try and its step."""
        for qp in range(coarsest, -60, -1):
            result = self.code(qp=qp, **options)
            if result.drop <= LIMIT:
                break
        return result, qp


def try_nncodec(task: Task) -> Iterator[Try]:
    """What needs no data: one step for all weights, or NNCodec's own rule; fine and coarse biases."""
    streams = Bitstreams(task, task)
    for scaled, other in product((False, True), (-75, -40)):
        yield streams.scan(-6, opt_qp=scaled, nonweight_qp=other)[0]


def try_ioq(task: Task) -> Iterator[Try]:
    """One half of the calibration images tunes, the other one judges."""
    streams = Bitstreams(task.half(1), task.half(0))
    plain = {scaled: streams.scan(-6, opt_qp=scaled, nonweight_qp=-40) for scaled in (False, True)}
    scaled = min(plain, key=lambda way: plain[way][0].rank())
    yield plain[scaled][0]
    yield streams.scan(plain[scaled][1] + 6, opt_qp=scaled, nonweight_qp=-40, ioq=True)[0]


PEERS: dict[str, Callable[[Task], Iterator[Try]]] = {
    "float16": try_float16,
    "onnxruntime dynamic int8": try_dynamic,
    "onnxruntime static int8": try_static,
    "onnx_shrink_ray": try_shrink_ray,
    "NNCodec 2": try_nncodec,
    "NNCodec 2 with IOQ": try_ioq,
}


def run_peer(name: str, folder: str, model: str, work: str) -> int:
    """Run one peer and leave its best try in WORK/result.json."""
    data, tries = np.load(Path(folder) / "cifar10.npz"), Path(work) / "tries"
    tries.mkdir()
    task = Task(Path(model), tries, feed_of(data["calibration"]), data["calibration_labels"])
    try:
        best = min(PEERS[name](task), key=Try.rank)
        result = {"setting": best.setting, "file": str(best.file), "model": str(best.model)}
        if best.drop == math.inf:
            result = {"problem": "failed: onnxruntime runs none of its files"}
    except ImportError as error:
        result = {"problem": f"not installed: {error}"}
    (Path(work) / "result.json").write_text(json.dumps(result), encoding="utf-8")
    return 0


def call_peer(python: str, name: str, folder: Path, model: Path, work: Path) -> dict[str, str]:
    """Run one peer in a process of its own; return what it left."""
    command = [python, "-m", "tests.bench.peers", "peer", name, *map(str, (folder, model, work))]
    status = subprocess.run(command, stdout=sys.stderr, check=False).returncode
    if status != 0:
        return {"problem": f"failed: exit status {status}"}
    return dict(json.loads((work / "result.json").read_text(encoding="utf-8")))


def compare(source: Path, given: argparse.Namespace, rows: list[list[str]]) -> Iterator[tuple[str, ...]]:
    """Yield the rows of one model."""
    data = np.load(given.folder / "cifar10.npz")
    test, labels = feed_of(data["test"]), data["test_labels"]
    before, top1 = source.stat().st_size, accuracy(source, test, labels)

    def row(method: str, setting: str, file: Path, model: Path) -> tuple[str, ...]:
        after, reached = file.stat().st_size, accuracy(model, test, labels)
        numbers = f"{after:,}", f"{before / after:.2f}x", f"{reached:.2f} %", f"{top1 - reached:.2f}"
        return method, setting, *numbers, "yes" if model == file else "no, own bitstream"

    yield row("original", "", source, source)
    for name in PEERS:
        with tempfile.TemporaryDirectory() as work:
            result = {"problem": "not run"}
            if name not in given.skip:
                result = call_peer(given.peers_python, name, given.folder, source, Path(work))
            if "problem" in result:
                yield name, result["problem"], *["-"] * 5
            else:
                yield row(name, result["setting"], Path(result["file"]), Path(result["model"]))
    with tempfile.TemporaryDirectory() as work:
        calibration, output = Path(work) / "calibration.npz", Path(work) / "out.onnx"
        np.savez(calibration, input=feed_of(data["calibration"]))
        for options in rows:
            compress(source, output, "-c", str(calibration), *options)
            yield row("onnxzip", " ".join(options), output, output)


def main(arguments: list[str]) -> int:
    """Print one table."""
    if arguments[:1] == ["peer"]:
        return run_peer(*arguments[1:])
    own, rest = split(arguments)
    rows: list[list[str]] = []
    while rest or not rows:
        options, rest = split(rest)
        rows.append(options)
    parser = argparse.ArgumentParser(prog="tests.bench.peers")
    parser.add_argument("folder", type=Path)
    parser.add_argument("models", type=Path, nargs="+")
    parser.add_argument("--peers-python", default=sys.executable)
    parser.add_argument("--skip", action="append", choices=PEERS, default=[])
    given = parser.parse_args(own)
    print("| " + " | ".join(COLUMNS) + " |", "|" + "---|" * len(COLUMNS), sep="\n")
    for model in given.models:
        for cells in compare(model, given, rows):
            print("| " + " | ".join((model.name, *cells)) + " |", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
