"""Kills runs at random moments, and fills the disk: OUT is old or complete, and nothing stays behind.

    python -m tests.release.kills [KILLS] [--seed S] [--kills-only]

Each kill starts the command in a process group of its own, sends SIGKILL, SIGTERM, SIGINT or SIGHUP
after a random time (drawn over the time that a whole run takes), and looks: OUT holds its old bytes or
a file that onnxzip tests as sound; no process of the group lives on. After every tenth kill one run is
let through, and then no temporary file may be left in the folder or in TMPDIR.

Full disk: the command writes to a file system of a few KB where the machine lets one be mounted, else
with a limit on the size of files (RLIMIT_FSIZE), at every size from nothing to enough.
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

OLD = b"what was there before"
SIGNALS = (signal.SIGKILL, signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
_SOURCE = Path(__file__).parents[2] / "models" / "digits_cnn.onnx"
_EVERY = 10
_GRACE_SECONDS = 5.0
"""What a signalled run may take to end, and its workers to notice that it is gone."""


class Place:
    """A folder with OUT and a report, and a folder for temporary files."""

    def __init__(self, folder: Path) -> None:
        """Make the folders."""
        self.work, self.scratch = folder / "work", folder / "scratch"
        for path in (self.work, self.scratch):
            path.mkdir()
        self.out = self.work / "out.onnx"
        self.report = self.work / "report.json"
        self.out.write_bytes(OLD)

    def start(self, before: Callable[[], object] | None = None) -> subprocess.Popen[bytes]:
        """Start compressing, in a process group of its own that does what signals ask for."""

        def begin() -> None:
            signal.signal(signal.SIGINT, signal.SIG_DFL)  # `python -m tests.release.kills &` ignores it
            if before is not None:
                before()

        command = [
            sys.executable,
            "-m",
            "onnxzip",
            "-q",
            "-f",
            "--report",
            self.report,
            _SOURCE,
            self.out,
        ]
        return subprocess.Popen(
            command,
            cwd=self.work,
            env={**os.environ, "TMPDIR": str(self.scratch), "OMP_NUM_THREADS": "1"},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            start_new_session=True,
            preexec_fn=begin,
        )

    def left(self) -> set[str]:
        """Return what lies about; `.ses` is onnxruntime's own."""
        names = {str(path) for folder in (self.work, self.scratch) for path in folder.iterdir()}
        return {
            n for n in names if n not in (str(self.out), str(self.report)) and not n.endswith("/.ses")
        }

    def fault_of_out(self) -> str:
        """Return what is wrong with OUT, "" where it is old or complete."""
        if not self.out.exists():
            return "OUT is gone"
        if self.out.read_bytes() == OLD:
            return ""
        command = [sys.executable, "-m", "onnxzip", "-t", "-q", str(self.out)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=self.scratch)
        return "" if done.returncode == 0 else f"OUT is neither old nor complete: {done.stderr.strip()}"


def kill_runs(n_kills: int, seed: int, place: Place) -> tuple[Counter[str], list[str]]:
    """Kill runs at random moments; return how they ended, and the faults."""
    rng = np.random.default_rng(seed)
    counts: Counter[str] = Counter()
    faults: list[str] = []
    started = time.monotonic()
    place.start().wait()
    whole = time.monotonic() - started
    for i in range(n_kills):
        number = SIGNALS[int(rng.integers(len(SIGNALS)))]
        seconds = float(rng.uniform(0, 1.1 * whole))
        what = f"{signal.Signals(number).name} after {seconds:.2f} of {whole:.2f} s"
        place.out.write_bytes(OLD)
        before = place.left()
        process = place.start()
        counts[_end(process, number, seconds)] += 1
        found = [place.fault_of_out()]
        if number != signal.SIGKILL:  # what that leaves is for the next run that ends
            found += [f"left behind: {name}" for name in sorted(place.left() - before)]
        if _lives(process.pid):
            found.append("a process of it lives on")
            os.killpg(process.pid, signal.SIGKILL)
        if i % _EVERY == _EVERY - 1 or i == n_kills - 1:
            code = place.start().wait()
            found += [f"exit {code} of the next run"] if code else []
            found += [f"left after the next run: {name}" for name in sorted(place.left())]
            for name in place.left():
                _remove(Path(name))
        faults += [f"kill {i}, {what}: {fault}" for fault in found if fault]
    return counts, faults


def _end(process: subprocess.Popen[bytes], number: int, seconds: float) -> str:
    """Send a signal after some time; return how the run ended."""
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.send_signal(number)
    try:
        _, err = process.communicate(timeout=_GRACE_SECONDS)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        return "did not end when signalled"
    code = process.returncode
    ending = f"ended by {signal.Signals(-code).name}" if code < 0 else f"exit {code}"
    is_usual = code in (0, 128 + number) and err.count(b"\n") <= 1
    return ending if (code < 0 and not err) or is_usual else f"{ending} saying {err[-300:]!r}"


def _lives(group: int) -> bool:
    """Whether a process group has a process that does not end by itself."""
    deadline = time.monotonic() + _GRACE_SECONDS
    while time.monotonic() < deadline:
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return False
        time.sleep(0.05)
    return True


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()


def fill_disk(folder: Path) -> tuple[str, list[str]]:
    """Compress onto a disk that is full at every size; return how it was made full, and the faults."""
    faults = []
    sizes = [*range(0, 40, 4), 64]
    with _small_disk(folder) as disk:
        for n_kb in sizes:
            found = _on_full_disk(disk, n_kb) if disk else _with_small_files(folder, n_kb)
            faults += [f"{n_kb} KB free: {fault}" for fault in found if fault]
    return ("tmpfs" if disk else "RLIMIT_FSIZE"), faults


@contextmanager
def _small_disk(folder: Path) -> Iterator[Path | None]:
    """Mount a tmpfs of 256 KB, where the machine allows it."""
    disk = folder / "disk"
    disk.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(disk)]
    try:
        is_mounted = subprocess.run(command, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        is_mounted = False
    try:
        yield disk if is_mounted else None
    finally:
        if is_mounted:
            subprocess.run(["umount", str(disk)], check=True)


def _on_full_disk(disk: Path, n_kb: int) -> list[str]:
    inside = disk / f"with_{n_kb}"
    inside.mkdir()
    place = Place(inside)
    filler = disk / "filler"
    free = os.statvfs(disk).f_bavail * os.statvfs(disk).f_bsize
    filler.write_bytes(bytes(max(0, free - n_kb * 1024)))
    try:
        return _full_faults(place, place.start())
    finally:
        filler.unlink()
        shutil.rmtree(inside)


def _with_small_files(folder: Path, n_kb: int) -> list[str]:
    inside = folder / f"with_{n_kb}"
    inside.mkdir()
    place = Place(inside)

    def limit() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # a write then fails, as on a full disk
        resource.setrlimit(resource.RLIMIT_FSIZE, (n_kb * 1024, n_kb * 1024))

    return _full_faults(place, place.start(limit))


def _full_faults(place: Place, process: subprocess.Popen[bytes]) -> list[str]:
    _, err = process.communicate()
    code, text = process.returncode, err.decode(errors="replace")
    found = [] if place.out.read_bytes() == OLD or code == 0 else [f"exit {code}, and OUT has changed"]
    if code not in (0, 1) or (code == 1 and (text.count("\n") != 1 or "internal error" in text)):
        found.append(f"exit {code}: {text[-300:]!r}")
    return [*found, *(f"left behind: {name}" for name in sorted(place.left()))]


def main() -> int:
    """Kill, fill, print; return 1 where there is a fault."""
    parser = argparse.ArgumentParser(prog="python -m tests.release.kills")
    parser.add_argument("kills", type=int, nargs="?", default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kills-only", action="store_true")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="kills-") as name:
        folder = Path(name)
        (folder / "kills").mkdir()
        counts, faults = kill_runs(asked.kills, asked.seed, Place(folder / "kills"))
        print(f"{asked.kills} signals: " + ", ".join(f"{n} {how}" for how, n in counts.most_common()))
        if not asked.kills_only:
            how, full = fill_disk(folder)
            print(f"full disk ({how}): {len(full)} faults")
            faults += full
    print("\n".join([*faults, f"{len(faults)} faults"]))
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
