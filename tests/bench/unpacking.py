"""Measures what `onnxzip -d` takes of memory, beside the model that it writes.

    python -m tests.bench.unpacking [MODEL...] [-- OPTIONS]

Without a MODEL, four MatMuls of 16.8M Gaussian weights are made. Each model is compressed at the levels
-1, -6 and -9 with the OPTIONS (default: --tolerance 0.3) and unpacked; a MODEL that is compressed
already is unpacked only. Peaks are sums, at any moment, over all processes of a run, of memory that the
system cannot take back (RssAnon and RssShmem of proc(5)), beyond those for a model of 30 KB: medians of
three. They are held against the size of the plain model and its two largest weights. That of the process
that decodes stands beside what was counted before it ran (`most_bytes_in_use`). Linux only.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import onnx

from onnxzip import graph
from onnxzip.runtime.memory.held import family, held_alone
from tests.bench.command import compress, split
from tests.bench.loading import LEVELS, make_model

SMALL = Path(__file__).parents[2] / "models" / "digits_cnn.onnx"
N_RUNS = 3
PAUSE_S = 0.002


def is_decoder(process: int) -> bool:
    """Whether a process is the one that decodes (`runtime.apart`)."""
    try:
        return b"apart import serve" in Path(f"/proc/{process}/cmdline").read_bytes()
    except OSError:
        return False


def peaks_of(source: Path, output: Path) -> tuple[int, int]:
    """Unpack a model; return the most bytes that all processes held at a moment, and the decoder's."""
    command = [sys.executable, "-m", "onnxzip", "-d", "-f", str(source), str(output)]
    process = subprocess.Popen(command)
    peak = peak_of_decoder = 0
    while process.poll() is None:
        held = {member: held_alone(member) for member in family(process.pid)}
        peak = max(peak, sum(held.values()))
        peak_of_decoder = max(
            [peak_of_decoder, *(held[member] for member in held if is_decoder(member))]
        )
        time.sleep(PAUSE_S)
    if process.returncode:
        raise SystemExit(f"{' '.join(command)}: exit code {process.returncode}")
    return peak, peak_of_decoder


def median_peaks(source: Path, output: Path) -> tuple[int, int]:
    """Return the medians of some runs."""
    all_peaks, decoder_peaks = zip(*(peaks_of(source, output) for _ in range(N_RUNS)), strict=True)
    return int(median(all_peaks)), int(median(decoder_peaks))


def row(name: str, packed: Path, base: tuple[int, int]) -> str:
    """Unpack a compressed model; return what that takes as cells of the table."""
    model = graph.read_model(packed)
    n_nodes, _ = graph.read_mark(model)
    n_counted = graph.most_bytes_in_use(model, n_nodes)
    with tempfile.TemporaryDirectory() as work:
        plain = Path(work) / "plain.onnx"
        peaks = [peak - small for peak, small in zip(median_peaks(packed, plain), base, strict=True)]
        tensors = onnx.load(plain).graph.initializer
        largest = sorted((len(tensor.raw_data) for tensor in tensors), reverse=True)[:2]
        bound = plain.stat().st_size + sum(largest)
    sizes = (packed.stat().st_size, n_counted, peaks[1], peaks[0], bound)
    holds = "yes" if peaks[0] <= bound else "NO"
    return f"| {' | '.join((name, *(f'{size / 1e6:.1f}' for size in sizes), holds))} |"


def main(arguments: list[str]) -> int:
    """Print one row a model and level."""
    models, options = split(arguments)
    with tempfile.TemporaryDirectory() as work:
        packed = Path(work) / "packed.onnx"
        compress(SMALL, packed, "-1")
        base = median_peaks(packed, Path(work) / "plain.onnx")
        if not models:
            make_model(Path(work) / "synthetic.onnx")
            models = [str(Path(work) / "synthetic.onnx")]
        print(f"For a small model: {base[0] / 1e6:.1f} MB, {base[1] / 1e6:.1f} MB where it decodes.\n")
        print(
            "| model | packed MB | counted MB | decoder MB | all MB | plain + two largest MB | holds |"
        )
        print("|---|---|---|---|---|---|---|")
        for model in map(Path, models):
            if graph.is_marked(graph.read_model(model)):
                print(row(model.name, model, base), flush=True)
                continue
            for level in LEVELS:
                compress(model, packed, level, *(options or ["--tolerance", "0.3"]))
                print(row(f"{model.name} {level}", packed, base), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
