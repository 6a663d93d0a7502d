"""Says how a run ended: done, refused as it should be, or a fault."""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import onnx

from onnxzip.graph.writing.decoder_view import KEY
from tests.fuzz.attempts import REPORTS, Attempt
from tests.fuzz.forks import EXIT_CRASHED, Run, run_command, run_forked
from tests.release.pairs import compare

MAX_BYTES = 1 << 30
"""Memory that a run may have resident: inputs are a few KB, and 0.1 GB is what it is forked with."""

OLD = b"what was there before"

_FINE = ("done", "refused")

_CPP = re.compile(
    r"\.(?:cc|cpp|h):\d+|onnxruntime::|std::|\[ONNXRuntimeError\]|0x[0-9a-f]{6,}|Status Message"
)
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u202a-\u202e\u2066-\u2069]")


@dataclass(frozen=True)
class Outcome:
    """How an attempt ended.

    Attributes:
        name: `done`, `refused`, or the kind of fault.
        finding: what was seen, in a line.
    """

    name: str
    finding: str = ""

    @property
    def is_fault(self) -> bool:
        """Whether something has to be mended."""
        return self.name not in _FINE


def try_attempt(attempt: Attempt, folder: Path) -> list[tuple[str, Outcome]]:
    """Run an attempt in an empty folder; return (command, outcome) of it and of what follows.

    What was compressed without a fault is listed, and tested and decompressed where anything in it is to
    be decoded: a size that folding alone meets makes a plain model.
    """
    (folder / "tmp").mkdir()
    (folder / "in.onnx").write_bytes(attempt.data)
    output = folder / "out.onnx"
    output.write_bytes(OLD)
    for name, data in attempt.beside.items():
        (folder / name).write_bytes(data)
    run = attempt.run(folder)
    found = [(attempt.command, _judge(run, attempt, folder))]
    if attempt.command != "compress" or found[0][1].name != "done":
        return found
    followers = [("list", ["-l", output])]
    if any(entry.key == KEY for entry in onnx.load(output).metadata_props):
        followers.append(("test", ["-t", output]))
        followers.append(("decompress", ["-d", "-f", output, folder / "plain.onnx"]))
    for command, arguments in followers:
        run = run_command(arguments, folder)
        outcome = outcome_of_run(run)
        if not outcome.is_fault and run.code:
            outcome = Outcome("wrong", f"exit {run.code} on what was just compressed: {run.err}")
        found.append((command, outcome))
    return found


def _judge(run: Run, attempt: Attempt, folder: Path) -> Outcome:
    output = folder / "out.onnx"
    outcome = outcome_of_run(run)
    if outcome.is_fault:
        return outcome
    if run.code == 2 and "--target-size" not in attempt.options:  # that may be more than the file has
        return Outcome("usage", run.err)
    if (folder / "in.onnx").read_bytes() != attempt.data:
        return Outcome("input changed")
    writes = run.code == 0 and attempt.command in ("compress", "decompress")
    if not writes and output.read_bytes() != OLD:
        return Outcome("output changed", f"exit {run.code}")
    left = {path.name for path in folder.iterdir()} - {"in.onnx", "out.onnx", "tmp", *attempt.beside}
    left -= set(REPORTS) if run.code in (0, 3) else set()
    left |= {path.name for path in (folder / "tmp").iterdir()} - {".ses"}  # that is onnxruntime's own
    if left:
        return Outcome("left behind", ", ".join(sorted(left)))
    if run.code == 0 and attempt.command == "compress":
        return _judge_written(attempt, folder)
    return outcome


def _judge_written(attempt: Attempt, folder: Path) -> Outcome:
    """Compare a written file with its input, in a process of its own: the sessions are not ours."""
    before, after = folder / "in.onnx", folder / "out.onnx"
    if after.stat().st_size >= before.stat().st_size:
        return Outcome("wrong", f"{before.stat().st_size} bytes became {after.stat().st_size}")
    file = folder.parent / f"{folder.name}.faults"
    shutil.rmtree(folder / "tmp")
    (folder / "tmp").mkdir()

    def work() -> int:
        file.write_text("; ".join(compare(before, after).faults))
        return 0

    run = run_forked(work, folder)
    faults = (
        file.read_text() if run.code == 0 else f"the comparison ended with {run.code}: {run.err[-300:]}"
    )
    file.unlink(missing_ok=True)
    return Outcome("wrong", faults) if faults else Outcome("done")


def outcome_of_run(run: Run, max_bytes: int = MAX_BYTES) -> Outcome:
    """Return the outcome as far as exit code, streams and limits tell it.

    Args:
        run: how it ended.
        max_bytes: memory that it may have resident.
    """
    last = " ".join(run.err.split())[-300:]
    if run.is_late:
        return Outcome("hang", f"{run.cpu_seconds:.0f} s of CPU")
    if run.code < 0:
        return Outcome("crash", f"signal {-run.code}: {last}")
    if run.peak_bytes > max_bytes or "out of memory" in run.err:
        return Outcome("memory", f"{run.peak_bytes >> 20} MB: {last}")
    if run.code not in (0, 1, 2, 3) or re.search("internal error|Traceback", run.err):
        kind = "internal error" if run.code != EXIT_CRASHED else "not caught"
        return Outcome(kind, f"exit {run.code}: {last}")
    if "please report" in run.err:
        return Outcome("own fault", last)
    finding = _untidiness(run)
    return (
        Outcome("untidy", f"{finding}: {last}")
        if finding
        else Outcome("refused" if run.code else "done")
    )


def _untidiness(run: Run) -> str:
    """Return what is wrong with what was printed, "" where nothing is."""
    lines = run.err.splitlines()
    if any(not line.startswith("onnxzip: ") for line in lines):
        return "a line that is not onnxzip's"
    if run.code and not lines:
        return "no message"
    if run.code and not re.search(r"\.(?:onnx|pub|txt|json|sig)\b", run.err):
        return "no file is named"
    if _CPP.search(run.err + run.out):
        return "C++"
    if _CONTROL.search(run.err + run.out):
        return "control characters"
    return "a long line" if max(map(len, lines), default=0) > 1500 else ""


def table(counts: Mapping[tuple[str, str], int], commands: tuple[str, ...]) -> list[str]:
    """Return the rows of a Markdown table: outcomes by command."""
    names = [*_FINE, *sorted({name for _, name in counts} - set(_FINE))]
    rows = [f"| command | runs | {' | '.join(names)} |", "|---" * (len(names) + 2) + "|"]
    for command in commands:
        cells = [counts.get((command, name), 0) for name in names]
        rows.append(f"| {command} | {sum(cells)} | {' | '.join(map(str, cells))} |")
    return rows
