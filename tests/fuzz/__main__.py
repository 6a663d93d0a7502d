"""Runs onnxzip on mutated and drawn files, and counts how it ends.

    python -m tests.fuzz RUNS [--seed S] [--keep FOLDER]      attempts 0 ... of a seed, until RUNS runs
    python -m tests.fuzz --seed S --only K                    one attempt again, with what is printed

Every attempt follows from its seed and number. Those that end in a fault are kept in a folder
(`fuzz-faults` by default), each with its file and what was seen. Prints a table, and exits with 1 where
anything but `done` and `refused` was counted. A release check runs 20,000; the tests run a few.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from tests.fuzz.attempts import COMMANDS, Attempt, Corpus, make_attempt
from tests.fuzz.forks import run_command
from tests.fuzz.outcomes import Outcome, table, try_attempt

_REPORT_EVERY = 500


def main() -> int:
    """Run what the command line asks for; return 1 where there is a fault."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz")
    parser.add_argument("runs", type=int, nargs="?", default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", type=int, metavar="K", help="repeat one attempt and show it")
    parser.add_argument("--keep", type=Path, default=Path("fuzz-faults"), metavar="FOLDER")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="fuzz-") as name:
        work = Path(name).resolve()
        corpus = Corpus(work / "corpus")
        if asked.only is not None:
            return _show(make_attempt(asked.seed, asked.only, corpus), work, asked.keep)
        return _run(asked.seed, asked.runs, corpus, work, asked.keep)


def _run(seed: int, n_runs: int, corpus: Corpus, work: Path, keep: Path) -> int:
    counts: Counter[tuple[str, str]] = Counter()
    started, number, n_faults = time.monotonic(), 0, 0
    while counts.total() < n_runs:
        attempt = make_attempt(seed, number, corpus)
        folder = work / "run"
        folder.mkdir()
        for command, outcome in try_attempt(attempt, folder):
            counts[command, outcome.name] += 1
            if outcome.is_fault:
                n_faults += 1
                _keep(seed, attempt, command, outcome, keep)
        shutil.rmtree(folder)
        number += 1
        if counts.total() % _REPORT_EVERY < 1:
            print(f"{counts.total()} runs, {n_faults} faults", file=sys.stderr, flush=True)
    print("\n".join(table(counts, COMMANDS)))
    seconds = time.monotonic() - started
    print(
        f"\nseed {seed}: {counts.total()} runs of {number} attempts, {n_faults} faults, {seconds:.0f} s"
    )
    return 1 if n_faults else 0


def _keep(seed: int, attempt: Attempt, command: str, outcome: Outcome, keep: Path) -> None:
    keep.mkdir(exist_ok=True)
    stem = f"{seed}-{attempt.number}"
    for name, data in {"onnx": attempt.data, **attempt.beside}.items():
        (keep / f"{stem}.{name}").write_bytes(data)
    line = (
        f"{outcome.name} | {command} of {attempt.kind} ({attempt.done}) {' '.join(attempt.options)} | "
        f"{outcome.finding} | python -m tests.fuzz --seed {seed} --only {attempt.number}"
    )
    with (keep / "faults.txt").open("a", encoding="utf-8") as file:
        file.write(f"{line!r}\n" if not line.isprintable() else f"{line}\n")


def _show(attempt: Attempt, work: Path, keep: Path) -> int:
    """Repeat one attempt; its file goes into the folder that is kept, for trials by hand."""
    keep.mkdir(exist_ok=True)
    file = keep / f"attempt-{attempt.number}.onnx"
    file.write_bytes(attempt.data)
    print(f"{attempt.command} of {attempt.kind} ({attempt.done}), kept as {file}")
    folder = work / "run"
    folder.mkdir()
    found = try_attempt(attempt, folder)
    for command, outcome in found:
        print(f"{command}: {outcome.name} {outcome.finding}")
    shutil.rmtree(folder)
    (folder / "tmp").mkdir(parents=True)
    for name, data in {"in.onnx": attempt.data, **attempt.beside}.items():
        (folder / name).write_bytes(data)
    is_line = attempt.command != "read report"
    arguments = ["-v", *(given for given in attempt.arguments(folder) if given != "-q")]
    run = run_command(arguments, folder) if is_line else attempt.run(folder)
    print(f"again, with -v: exit {run.code}, {run.cpu_seconds:.1f} s, {run.peak_bytes >> 20} MB")
    print(f"{run.out}\n{run.err}")
    return 1 if any(outcome.is_fault for _, outcome in found) else 0


if __name__ == "__main__":
    sys.exit(main())
