"""Prints what goes to a cluster for a model, what stays here, and the time that this comes to.

    python -m tests.bench.clustered MODEL... [--measure] [-- OPTIONS]

For each weight: the bytes that move to a worker and back, and the seconds of work there, measured here,
on one core. Modelled for 1 to 64 workers as fast as this core, behind 1 Gbit/s: what stays here, then
the weights, the largest first, each to the worker that is free first; no faster than they can be sent.
With --measure that part also runs on clusters of one and two processes on this machine, from their
first import of onnxzip on; the wall clock tells something where nothing else runs.
"""

from __future__ import annotations

import argparse
import heapq
import pickle
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

from onnxzip import pipeline
from onnxzip.cli.arguments import parse
from onnxzip.options import Options
from onnxzip.propose.working import means
from onnxzip.propose.working.workers import LocalWorkers
from tests.bench.command import split

_BYTES_PER_S = 1e9 / 8
_WORKERS = (1, 2, 4, 8, 16, 32, 64)


class Recorder(LocalWorkers):
    """Works here, and notes what each task would move and takes: (bytes, CPU seconds, name)."""

    tasks: list[tuple[int, float, str]]

    def work(
        self,
        function: Callable[..., Any],
        arguments: Sequence[tuple[object, ...]],
        names: Sequence[str],
        sizes: Sequence[int],
    ) -> Iterator[tuple[int, Any, bool]]:
        for place, given in enumerate(arguments):
            started = time.process_time()
            result = function(*given)
            seconds = time.process_time() - started
            n_bytes = len(pickle.dumps(given, 5)) + len(pickle.dumps(result, 5))
            self.tasks.append((n_bytes, seconds, names[place]))
            yield place, result, True


def modelled(tasks: Sequence[tuple[int, float, str]], n_workers: int) -> float:
    """Return the seconds that the weights take on so many workers."""
    free = [0.0] * n_workers
    for n_bytes, seconds, _ in sorted(tasks, key=lambda task: -task[1]):
        heapq.heappush(free, heapq.heappop(free) + n_bytes / _BYTES_PER_S + seconds)
    return max(*free, sum(n for n, _, _ in tasks) / _BYTES_PER_S)


def record(model: Path, options: Options) -> tuple[list[tuple[int, float, str]], float]:
    """Return the tasks of a model, and the CPU seconds of everything else."""
    Recorder.tasks = []
    started = time.process_time()
    with mock.patch.object(means, "LocalWorkers", Recorder):
        pipeline.compress(model, options=options)
    return Recorder.tasks, time.process_time() - started - sum(task[1] for task in Recorder.tasks)


def measure(model: Path, options: Options, n_workers: int) -> float:
    """Return the wall-clock seconds that the weights take on a cluster of processes here."""
    from distributed import LocalCluster

    times: dict[str, float] = {}

    def note(stage: str, fraction: float) -> None:
        kind = "weights" if stage.startswith("layer ") else stage.split()[0]
        times.setdefault(f"first {kind}", time.perf_counter())
        times[f"last {kind}"] = time.perf_counter()

    with LocalCluster(
        n_workers=n_workers, threads_per_worker=1, processes=True, dashboard_address=":0"
    ) as cluster:
        clustered = replace(options, cluster=cluster.scheduler_address)
        pipeline.compress(model, options=clustered, progress=note)
    begun = times.get("last statistics", times["last checking"])
    return times["last weights"] - begun


def main(arguments: list[str]) -> int:
    """Print the tables of each model."""
    before, given = split(arguments)
    parser = argparse.ArgumentParser(prog="python -m tests.bench.clustered")
    parser.add_argument("models", nargs="+", type=Path)
    parser.add_argument("--measure", action="store_true")
    asked = parser.parse_args(before)
    for model in asked.models:
        options = parse([*given, str(model), "out.onnx"]).options
        tasks, here = record(model, options)
        n_bytes, seconds = sum(task[0] for task in tasks), sum(task[1] for task in tasks)
        print(
            f"\n{model.stem}: {len(tasks)} weights, {n_bytes / 1e6:.1f} MB and {seconds:.1f} s of work"
        )
        print("| largest | MB moved | s of work |\n|---|---|---|")
        for n_moved, taken, name in sorted(tasks, key=lambda task: -task[1])[:5]:
            print(f"| {name} | {n_moved / 1e6:.2f} | {taken:.2f} |")
        print("\n| workers | s for the weights | s in all | times as fast |\n|---|---|---|---|")
        for n_workers in _WORKERS:
            part = modelled(tasks, n_workers)
            ratio = (here + seconds) / (here + part)
            print(f"| {n_workers} | {part:.1f} | {here + part:.1f} | {ratio:.2f} |")
        for n_workers in (1, 2) if asked.measure else ():
            print(f"measured with {n_workers}: {measure(model, options, n_workers):.1f} s", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
