"""What a runtime answers on a file, in a process of its own, and how two files' answers differ."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

CLOSE = 1e-5
"""The largest difference that is right where sums may be taken in another order: plain files hold what
onnxruntime decodes here, and a basis product elsewhere moves answers by up to 7e-7."""
LIMIT_SECONDS = 600
"""onnx's evaluator takes a minute for vgg8 at level 9."""


@dataclass(frozen=True)
class Answers:
    """What a script has written (`scripts/kit.py` says what that is), or why it has not.

    Attributes:
        finding: why there are no answers, "" where there are.
        outputs: of each of the inputs, as float64.
        peak_mb: the most memory that the process took, in MB of 10^6 bytes.
        facts: `version`, `load_ms`, `first_ms`, `run_ms`, and `n_bytes` where a file was written.
    """

    finding: str
    outputs: tuple[tuple[NDArray[Any], ...], ...] = ()
    peak_mb: float = 0.0
    facts: dict[str, Any] | None = None


@dataclass(frozen=True)
class Pair:
    """The answers on a plain file and on the compressed one.

    Attributes:
        name: of the pair.
        n_bytes: of the two files.
        limit: the largest difference that is right.
    """

    name: str
    plain: Answers
    small: Answers
    n_bytes: tuple[int, int]
    limit: float

    @property
    def difference(self) -> float:
        """The largest difference, in units of the plain output's largest number."""
        if self.plain.finding or self.small.finding:
            return 0.0
        return difference(self.plain.outputs, self.small.outputs)

    @property
    def verdict(self) -> str:
        """`right`, `wrong`, `refused`, or `not for it` where it does not take the plain file either."""
        if self.plain.finding:
            return "not for it"
        if self.small.finding:
            return "refused"
        return "right" if self.difference <= self.limit else "wrong"


def difference(
    wanted: Sequence[Sequence[NDArray[Any]]], found: Sequence[Sequence[NDArray[Any]]]
) -> float:
    """Return the largest difference of outputs, in units of each one's largest number; inf for a NaN."""
    worst = 0.0
    for lefts, rights in zip(wanted, found, strict=True):
        for left, right in zip(lefts, rights, strict=True):
            if left.shape != right.shape or np.isnan(left - right).any():
                return float("inf")
            scale = max(float(np.abs(left).max(initial=0)), 1e-30)
            worst = max(worst, float(np.abs(left - right).max(initial=0)) / scale)
    return worst


def ask_pairs(
    folders: Iterable[Path], answers_of: Callable[[Path], Answers], limit: float
) -> Iterator[Pair]:
    """Yield the answers on each folder's two files; files of the same bytes are asked about once."""
    known: dict[bytes, Answers] = {}
    for folder in folders:
        answers, n_bytes = [], []
        for file in (folder / "plain.onnx", folder / "small.onnx"):
            content = file.read_bytes()
            digest = hashlib.sha256(content).digest()
            if digest not in known:
                known[digest] = answers_of(file)
            answers.append(known[digest])
            n_bytes.append(len(content))
        yield Pair(folder.name, answers[0], answers[1], (n_bytes[0], n_bytes[1]), limit)


def ask(command: Sequence[str | Path], model: Path, arguments: Sequence[str | Path]) -> Answers:
    """Run a script on a model; a process that dies is a finding."""
    with tempfile.TemporaryDirectory() as name:
        result, err = Path(name) / "result.json", Path(name) / "err"
        whole = [*command, model, model.with_name("feeds.json"), result, *arguments]
        with err.open("w") as errors:
            process = subprocess.Popen(whole, stdout=errors, stderr=errors, cwd=name)
            code, peak_mb = _wait(process)
        if code or not result.exists():
            return Answers(_finding(code, err.read_text(errors="replace")))
        return read(json.loads(result.read_text()), peak_mb)


def read(written: dict[str, Any], peak_mb: float) -> Answers:
    """Return the answers that a script or a page has written."""
    if "finding" in written:
        return Answers(str(written["finding"])[:300])
    outputs = tuple(
        tuple(
            np.frombuffer(base64.b64decode(array["data"]), "<f8").reshape(array["dims"])
            for array in arrays
        )
        for arrays in written.pop("outputs")
    )
    return Answers("", outputs, peak_mb, written)


def _wait(process: subprocess.Popen[Any]) -> tuple[int, float]:
    """Return a process's exit code, negative for a signal, and its peak memory in MB."""
    deadline = time.monotonic() + LIMIT_SECONDS
    while True:
        pid, status, usage = os.wait4(process.pid, os.WNOHANG)
        if pid:
            process.returncode = os.waitstatus_to_exitcode(status)
            return process.returncode, usage.ru_maxrss * 1024 / 1e6
        if time.monotonic() > deadline:
            process.kill()
            process.wait()
            return -signal.SIGALRM, 0.0
        time.sleep(0.02)


def _finding(code: int, err: str) -> str:
    if code == -signal.SIGALRM:
        return f"took more than {LIMIT_SECONDS} s"
    lines = [line.strip() for line in err.splitlines() if line.strip()]
    last = lines[-1][:300] if lines else ""
    return f"{signal.Signals(-code).name}: {last}" if code < 0 else last or f"exit code {code}"
