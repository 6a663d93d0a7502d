"""Compresses models with the checks on an accelerator, and says what it costs there afterwards.

    python -m tests.release.accelerator PROVIDER [MODEL...] [-- OPTIONS]

Without a MODEL, those of models/ are taken. Needs an onnxruntime that has the provider. For each model
the exact and the drift check on that provider, the nodes of its sessions on the plain and on the
compressed file (as many where all decode nodes are folded before the provider takes its own), and the
compressed file's time to load and to run as a multiple of the plain one's: sessions made and run by
turns in one process, medians. Exits with 1 where a check fails or a decode node is left.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import onnxruntime as ort

from onnxzip.runtime.providers import long_name
from tests.bench.command import compress, split

N_CREATIONS, N_RUNS = 4, 1000
_MODELS = Path(__file__).parents[2] / "models"
_TYPES = {"tensor(float)": np.float32, "tensor(float16)": np.float16, "tensor(int64)": np.int64}


def create(path: Path, provider: str) -> tuple[ort.InferenceSession, float]:
    """Return a session and the seconds it took."""
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
    providers = [long_name(provider), long_name("CPU")]
    started = time.perf_counter()
    session = ort.InferenceSession(path, options, providers=providers)
    return session, time.perf_counter() - started


def n_nodes(session: ort.InferenceSession) -> int:
    """Count the nodes that run, on whatever provider."""
    return sum(len(part.get_nodes()) for part in session.get_provider_graph_assignment_info())


def feeds_of(session: ort.InferenceSession) -> dict[str, np.ndarray]:
    """Return ones for every input; free dimensions are 8."""
    return {
        value.name: np.ones([n if isinstance(n, int) else 8 for n in value.shape], _TYPES[value.type])
        for value in session.get_inputs()
    }


def latencies(sessions: list[ort.InferenceSession]) -> list[float]:
    """Return each session's median seconds of a run, run by turns."""
    feeds = feeds_of(sessions[0])
    seconds = np.empty((N_RUNS, len(sessions)))
    for i in range(N_RUNS):
        for j, session in enumerate(sessions):
            started = time.perf_counter()
            session.run(None, feeds)
            seconds[i, j] = time.perf_counter() - started
    return [float(x) for x in np.median(seconds[N_RUNS // 10 :], axis=0)]


def row(source: Path, provider: str, options: list[str]) -> tuple[str, bool]:
    """Compress a model; return its row of the table and whether everything was as it must be."""
    with tempfile.TemporaryDirectory() as work:
        small, report_file = Path(work) / "small.onnx", Path(work) / "report.json"
        checked_on = ("--providers", f"CPU,{provider}", "--report", str(report_file))
        try:
            compress(source, small, *checked_on, *options)
        except subprocess.CalledProcessError as error:
            return f"| {source.name} | exit code {error.returncode} |", False
        report = json.loads(report_file.read_text())
        created = [[create(path, provider) for path in (source, small)] for _ in range(N_CREATIONS)]
        loads = [float(np.median([pair[i][1] for pair in created[1:]])) for i in range(2)]
        counts = [n_nodes(session) for session, _ in created[-1]]
        runs = latencies([session for session, _ in created[-1]])
    checks = [check for check in report["checks"] if check["provider"] == provider]
    values = [f"{c['value']:.3g}" for kind in ("exact", "drift") for c in checks if c["kind"] == kind]
    ratios = (f"{loads[1] / loads[0]:.2f}", f"{runs[1] / runs[0]:.3f}")
    cells = (source.name, f"{report['bytes_before'] / report['bytes_after']:.2f}x", *values, *counts)
    passed = all(check["passed"] for check in report["checks"]) and counts[1] <= counts[0]
    return f"| {' | '.join(map(str, (*cells, *ratios)))} |", passed


def main(arguments: list[str]) -> int:
    """Print one row a model."""
    (provider, *models), options = split(arguments)
    print(f"onnxruntime {ort.__version__}, {provider}")
    print("| model | ratio | exact | drift | nodes plain | nodes compressed | load | latency |")
    print("|---|---|---|---|---|---|---|---|")
    n_failed = 0
    for source in map(Path, models) if models else sorted(_MODELS.glob("*.onnx")):
        text, passed = row(source, provider, options)
        print(text + ("" if passed else " FAILED"), flush=True)
        n_failed += not passed
    return 1 if n_failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
