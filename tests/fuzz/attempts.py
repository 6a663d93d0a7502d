"""Makes attempts: a seed and a number give the files and the arguments of one run, always the same."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx

from tests.cases import CASES
from tests.fuzz.extremes import pick
from tests.fuzz.forks import run_command
from tests.fuzz.marks import change_bytes, change_mark, change_payload
from tests.fuzz.models import random_model
from tests.fuzz.mutations import mutate

COMMANDS = ("compress", "list", "test", "decompress")

KINDS = ("valid", "model", "model", "bytes", "mark", "payload", "forged")
"""What is done to a file; models are mutated twice as often, as there is most to them."""

_COMPRESSED = ("two_layer_perceptron", "conv_batch_norm", "lstm_forward", "gather_int64", "if_captured")
_LEVELS = ("-1", "-6", "-9")
_OPTIONS = (
    (),
    (),
    ("-1",),
    ("-9",),
    ("--passes", "scalar"),
    ("--target-size", "2KB"),
    ("--keep-names",),
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
                return ["-d", "-f", source, output]
            case "list":
                return ["-l", source]
        return ["-t", source]


class Corpus:
    """What attempts begin with: plain models, and files that onnxzip made of some of them."""

    def __init__(self, folder: Path) -> None:
        """Compress a few models at several levels, in a folder of its own."""
        folder.mkdir()
        (folder / "tmp").mkdir()
        self.plain = [
            case.build().SerializeToString() for case in CASES.values() if _is_alone(case.build())
        ]
        self.compressed = []
        for i, name in enumerate(_COMPRESSED):
            source, small = folder / "in.onnx", folder / f"{name}.onnx"
            source.write_bytes(CASES[name].build().SerializeToString())
            run = run_command(["-q", "-f", _LEVELS[i % len(_LEVELS)], source, small], folder)
            if run.code:
                raise RuntimeError(f"{name} cannot be compressed: {run.err}")
            self.compressed.append(small.read_bytes())


def _is_alone(model: onnx.ModelProto) -> bool:
    return not any(t.external_data for t in model.graph.initializer)


def make_attempt(seed: int, number: int, corpus: Corpus) -> Attempt:
    """Return attempt `number` of a seed."""
    rng = np.random.default_rng([seed, number])
    kind = pick(rng, KINDS)
    command = "compress" if kind == "valid" else pick(rng, COMMANDS)
    if kind in ("mark", "payload", "forged") and command == "compress":
        command = "test"  # a marked file is never compressed again
    data, done = _file(rng, kind, command, corpus)
    options = pick(rng, _OPTIONS) if command == "compress" else ()
    return Attempt(number, kind, command, data, tuple(options), done)


def _file(rng: np.random.Generator, kind: str, command: str, corpus: Corpus) -> tuple[bytes, str]:
    if kind == "valid":
        return random_model(rng).SerializeToString(), "drawn"
    if kind in ("model", "bytes"):
        is_plain = command == "compress" or rng.random() < 0.2
        data = pick(rng, corpus.plain if is_plain else corpus.compressed)
        if kind == "bytes":
            return change_bytes(rng, data, pick(rng, corpus.plain)), "bytes"
        model = onnx.ModelProto.FromString(data)
        names = mutate(rng, model, int(pick(rng, (1, 1, 2, 3))))
        return model.SerializeToString(), ", ".join(names) or "nothing"
    model = onnx.ModelProto.FromString(pick(rng, corpus.compressed))
    if kind == "mark":
        done = change_mark(rng, model)
    else:
        done = change_payload(rng, model, forge=kind == "forged")
    return model.SerializeToString(), done
