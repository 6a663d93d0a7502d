"""Runs the command over folders of model files, and checks what it writes by onnx and onnxruntime alone.

    python -m tests.release.suites FOLDER... [--limit-mb N] [--tolerance X]

Every .onnx file below a folder is compressed by default options, and listed, in processes with limits.
Exit 0: the file is compared with the original (`pairs`), and -l, -t and -d have to succeed. All else
has to be one line that names the file. Prints a table by folder: how many files there are, which of them
onnxruntime loads, exit 0, refused, faults; then why files were refused, by reason; then the faults.
Exits with 1 where there is one.

Suites to run it on: what the onnx package ships (onnx/backend/test/data), the test models of
onnxruntime, tract, burn-onnx, qonnx.
"""

from __future__ import annotations

import argparse
import re
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from tests.fuzz.forks import Run, run_command, run_forked
from tests.fuzz.outcomes import MAX_BYTES, outcome_of_run
from tests.release.pairs import compare, open_session

FAR = 0.5
"""A loss on inputs of this bench from which on it is told: the command proves one on its own inputs."""

_MEMORY_FACTOR = 2
"""Memory that a run may take, of what loading the model takes: beside that there is a copy of it."""


@dataclass
class Tally:
    """What was found in one folder."""

    folder: Path
    counts: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)
    far: list[str] = field(default_factory=list)


def try_file(source: Path, tally: Tally, options: list[str]) -> None:
    """Compress one file, and count how that ended."""
    with tempfile.TemporaryDirectory(prefix="suites-") as name:
        folder = Path(name).resolve() / "run"
        (folder / "tmp").mkdir(parents=True)
        output = folder / "out.onnx"
        run = run_command(["-q", "-f", *options, source, output], folder)
        tally.counts["files"] += 1
        loaded = run_forked(lambda: _is_loadable(source), folder)
        tally.counts["runnable"] += loaded.code == 0
        # light_vgg19 of onnx makes 0.6 GB of weights while it is loaded, by whoever loads it.
        max_bytes = max(MAX_BYTES, _MEMORY_FACTOR * loaded.peak_bytes)
        listed = outcome_of_run(run_command(["-l", source], folder), max_bytes)
        if listed.is_fault:
            tally.faults.append(f"{source}: -l: {listed.name}: {listed.finding}")
        outcome = outcome_of_run(run, max_bytes)
        if outcome.is_fault:
            tally.faults.append(f"{source}: {outcome.name}: {outcome.finding}")
        elif run.code:
            tally.counts["refused"] += 1
            tally.reasons[f"exit {run.code}: {_reason(run, source)}"] += 1
            if output.exists():
                tally.faults.append(f"{source}: exit {run.code}, and there is an output")
        else:
            tally.counts["exit 0"] += 1
            _check_written(source, output, folder, tally)


def _check_written(source: Path, output: Path, folder: Path, tally: Tally) -> None:
    found = folder / "found"

    def work() -> int:
        comparison = compare(source, output)
        lines = (str(comparison.n_runs), str(comparison.loss), *comparison.faults)
        found.write_text("\n".join(lines))
        return 0

    run = run_forked(work, folder)
    if run.code:
        tally.faults.append(f"{source}: cannot be compared: exit {run.code}: {run.err[-300:]}")
        return
    n_runs, loss, *faults = found.read_text().split("\n")
    tally.faults += [f"{source}: {fault}" for fault in faults]
    tally.counts["compared"] += int(n_runs) > 0
    if loss != "None" and float(loss) > FAR:
        tally.far.append(f"{source}: loses {float(loss):.3g} on inputs of this bench")
    for arguments in (["-l", output], ["-t", output], ["-d", output, folder / "plain.onnx"]):
        run = run_command(arguments, folder)
        outcome = outcome_of_run(run)
        if outcome.is_fault or run.code:
            tally.faults.append(
                f"{source}: {arguments[0]} of the output: exit {run.code}: {run.err[-300:]}"
            )


def _is_loadable(path: Path) -> int:
    open_session(path)
    return 0


def _reason(run: Run, source: Path) -> str:
    """Return what a refusal says, without the names and numbers that tell one file from another."""
    text = " ".join(run.err.removeprefix("onnxzip: ").split()).replace(str(source), "")
    text = re.sub(r"'[^']*'", "'...'", text.lstrip(": "))
    return re.sub(r"\d[\d.,]*", "N", text)[:110]


def print_tallies(tallies: list[Tally]) -> None:
    """Print the table, the reasons, and the faults."""
    columns = ("files", "runnable", "exit 0", "compared", "refused")
    print(f"| folder | {' | '.join(columns)} | far | faults |")
    print("|---" * (len(columns) + 3) + "|")
    for tally in tallies:
        cells = [tally.counts[name] for name in columns] + [len(tally.far), len(tally.faults)]
        print(f"| {tally.folder} | {' | '.join(map(str, cells))} |")
    reasons = sum((tally.reasons for tally in tallies), Counter())
    print("\n| refused | files |\n|---|---|")
    for reason, n_files in reasons.most_common():
        print(f"| {reason} | {n_files} |")
    for title in ("far", "faults"):
        for tally in tallies:
            for line in getattr(tally, title):
                print(f"{title}: {line}")


def main() -> int:
    """Run all folders; return 1 where there is a fault."""
    parser = argparse.ArgumentParser(prog="python -m tests.release.suites")
    parser.add_argument("folders", type=Path, nargs="+", metavar="FOLDER")
    parser.add_argument("--limit-mb", type=float, default=50, help="leave larger files alone")
    parser.add_argument("--tolerance", help="handed on to the command")
    asked = parser.parse_args()
    options = ["--tolerance", asked.tolerance] if asked.tolerance else []
    tallies = []
    for folder in asked.folders:
        tally = Tally(folder)
        for source in sorted(folder.resolve().rglob("*.onnx")):
            if source.is_file() and source.stat().st_size <= asked.limit_mb * 1e6:
                try_file(source, tally, options)
                print(f"\r{folder}: {tally.counts['files']}", end="", file=sys.stderr, flush=True)
        tallies.append(tally)
    print(file=sys.stderr)
    print_tallies(tallies)
    return 1 if any(tally.faults for tally in tallies) else 0


if __name__ == "__main__":
    sys.exit(main())
