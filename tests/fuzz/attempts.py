"""Makes attempts: a seed and a number give the files and the arguments of one run, always the same."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import onnx
import pytest

import onnxzip
from onnxzip.cli.main import main
from tests.cases import CASES
from tests.fuzz.deliveries import (
    HAS_SEAL,
    HAS_SIGN,
    PUBLIC_KEY,
    SECRET_KEY,
    change_report,
    change_sealed,
    change_signed,
    make_keys,
)
from tests.fuzz.extremes import pick
from tests.fuzz.forks import Run, run_command, run_forked
from tests.fuzz.marks import change_bytes, change_mark, change_payload
from tests.fuzz.models import random_model
from tests.fuzz.mutations import mutate
from tests.speed import tell_times

ORIGINAL = "original.onnx"
REPORTS = ("report.json", "report.html", "report.md")

COMMANDS = ("compress", "list", "test", "decompress", "compare", "read report")

KINDS = (
    *("valid", "model", "model", "bytes", "mark", "payload", "forged", "report"),
    *(("signed",) if HAS_SIGN else ()),
    *(("sealed",) if HAS_SEAL else ()),
)
"""What is done to a file; models are mutated twice as often, as there is most to them."""

_OF_FILES = ("list", "test", "decompress", "compare")
"""The commands for what onnxzip wrote: that is never compressed again."""

_COMPRESSED = ("two_layer_perceptron", "conv_batch_norm", "lstm_forward", "gather_int64", "if_captured")
_FASTER = ("two_layer_perceptron", "residual_network", "constant_node")
"""Which are compressed for speed as well: dynamic and static int8."""

_LEVELS = ("-1", "-6", "-9")
_OPTIONS = (
    (),
    (),
    ("-1",),
    ("-9",),
    ("--passes", "scalar"),
    ("--target-size", "2KB"),
    ("--keep-names",),
    ("--objective", "speed"),
    ("--objective", "speed", "-1", "--tolerance", "0.3"),
    ("--report", REPORTS[0]),
    ("--report", REPORTS[1], "--best-effort", "--tolerance", "0.001"),
    ("--load-memory", "1MB"),
)


@dataclass(frozen=True)
class Attempt:
    """One run that is to be made.

    Attributes:
        number: within its seed.
        kind: what was done to a file.
        command: one of COMMANDS.
        data: the file.
        options: what the command line gets besides.
        done: what was changed, in words.
    """

    number: int
    kind: str
    command: str
    data: bytes
    options: tuple[str, ...]
    done: str
    beside: Mapping[str, bytes] = field(default_factory=dict)

    @property
    def is_valid(self) -> bool:
        """Whether nothing is wrong with the file."""
        return self.kind == "valid"

    def arguments(self, folder: Path) -> list[object]:
        """Return the command line for a folder that has the file as in.onnx."""
        source, output = folder / "in.onnx", folder / "out.onnx"
        match self.command:
            case "compress":
                return ["-q", "-f", *self.options, source, output]
            case "decompress":
                return ["-d", "-f", *self.options, source, output]
            case "list":
                return ["-l", *self.options, source]
            case "compare":
                return ["-t", *self.options, source, "--against", folder / ORIGINAL]
        return ["-t", *self.options, source]

    def run(self, folder: Path) -> Run:
        """Do it, in a folder that has the files."""
        if self.command != "read report":
            return run_command(self.arguments(folder), folder)
        return run_forked(lambda: read_and_show(folder / "in.onnx"), folder)


def read_and_show(path: Path) -> int:
    """Read a report and write it again; figures that no run gives are shown as they are, or not."""
    try:
        report = onnxzip.read_report(path)
    except onnxzip.OnnxzipError as error:
        print(f"onnxzip: {error}", file=sys.stderr)
        return error.exit_code
    report.write(path.with_name(REPORTS[0]))
    return 0


class Corpus:
    """What attempts begin with: plain models, and files that onnxzip made of some of them."""

    def __init__(self, folder: Path) -> None:
        """Compress a few models at several levels, and for speed, in a folder of its own."""
        folder.mkdir()
        (folder / "tmp").mkdir()
        self.plain = [
            case.build().SerializeToString() for case in CASES.values() if _is_alone(case.build())
        ]
        self.folder = folder
        self.compressed: list[bytes] = []
        self.originals: list[bytes] = []
        self.reports: list[bytes] = []
        for i, name in enumerate(_COMPRESSED):
            self._compress(name, [_LEVELS[i % len(_LEVELS)]])
        for i, name in enumerate(_FASTER):
            self._compress(
                name, [_LEVELS[i % len(_LEVELS)], "--objective", "speed", "--tolerance", "0.3"]
            )
        self.keys = make_keys(folder)

    def _compress(self, name: str, options: list[str]) -> None:
        source, small, report = (self.folder / n for n in ("in.onnx", "small.onnx", REPORTS[0]))
        source.write_bytes(CASES[name].build().SerializeToString())
        arguments = ["-q", "-f", *options, "--report", report, source, small]

        def work() -> int:
            with pytest.MonkeyPatch.context() as patch:
                tell_times(patch)  # so that attempts follow from their seeds on every machine
                return main([str(argument) for argument in arguments])

        run = run_forked(work, self.folder)
        if run.code:
            raise RuntimeError(f"{name} cannot be compressed: {run.err}")
        self.originals.append(source.read_bytes())
        self.compressed.append(small.read_bytes())
        self.reports.append(_without_times(report.read_text()))


def _without_times(text: str) -> bytes:
    """Return a report as it would be on every machine and at any time."""
    record = json.loads(text)
    record.update(seconds=1.0, load_seconds=None)
    return json.dumps(record).encode()


def _is_alone(model: onnx.ModelProto) -> bool:
    return not any(t.external_data for t in model.graph.initializer)


def make_attempt(seed: int, number: int, corpus: Corpus) -> Attempt:
    """Return attempt `number` of a seed."""
    rng = np.random.default_rng([seed, number])
    kind = pick(rng, KINDS)
    if kind == "report":
        data, done = change_report(rng, pick(rng, corpus.reports))
        return Attempt(number, kind, "read report", data, (), done)
    command = "compress" if kind == "valid" else pick(rng, COMMANDS[:-1])
    if kind not in ("valid", "model", "bytes") and command == "compress":
        command = pick(rng, _OF_FILES)
    place = int(rng.integers(len(corpus.compressed)))
    data, done = _file(rng, kind, command, place, corpus)
    beside = {ORIGINAL: corpus.originals[place]} if command == "compare" else {}
    options = tuple(pick(rng, _OPTIONS)) if command == "compress" else ()
    if kind == "signed":
        data, named, told = change_signed(rng, data, corpus.keys)
        command = pick(rng, ("test", "compare"))
        beside, done = {ORIGINAL: corpus.originals[place], **named}, f"{done}; {told}"
        options = ("--verify", PUBLIC_KEY)
    elif kind == "sealed":
        data, named, told = change_sealed(rng, data, corpus.keys)
        beside, done = {**beside, **named}, f"{done}; {told}"
        options = ("--open", SECRET_KEY)
    return Attempt(number, kind, command, data, options, done, beside)


def _file(
    rng: np.random.Generator, kind: str, command: str, place: int, corpus: Corpus
) -> tuple[bytes, str]:
    if kind == "valid":
        return random_model(rng).SerializeToString(), "drawn"
    small = corpus.compressed[place]
    if kind in ("model", "bytes"):
        is_plain = command == "compress" or rng.random() < 0.2
        data = pick(rng, corpus.plain) if is_plain else small
        if kind == "bytes":
            return change_bytes(rng, data, pick(rng, corpus.plain)), "bytes"
        model = onnx.ModelProto.FromString(data)
        names = mutate(rng, model, int(pick(rng, (1, 1, 2, 3))))
        return model.SerializeToString(), ", ".join(names) or "nothing"
    if kind in ("signed", "sealed") and rng.random() < 0.5:
        return small, "nothing"  # so that what is around it is reached
    model = onnx.ModelProto.FromString(small)
    if kind == "mark":
        done = change_mark(rng, model)
    else:
        done = change_payload(rng, model, forge=kind != "payload")
    return model.SerializeToString(), done
