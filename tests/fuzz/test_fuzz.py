"""The fuzzer itself, and a short run of it; a long one is a release check."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest

from tests.fuzz.guided import try_file
from tests.fuzz.models import random_model
from tests.fuzz.mutations import MUTATIONS, mutate
from tests.release.pairs import compare

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("seed", range(12))
def test_drawn_models_are_valid(seed: int, tmp_path: Path) -> None:
    model = random_model(np.random.default_rng([3, seed]))
    onnx.checker.check_model(model, full_check=True)
    path = tmp_path / "model.onnx"
    path.write_bytes(model.SerializeToString())
    assert compare(path, path).n_runs == 1


def test_every_mutation_changes_something_now_and_then() -> None:
    unused = set(MUTATIONS)
    for seed in range(200):
        rng = np.random.default_rng([4, seed])
        model = random_model(rng)
        for change in sorted(unused, key=repr):
            before = model.SerializeToString(deterministic=True)
            try:
                change(rng, model)
            except (ValueError, TypeError, IndexError, OverflowError):
                continue
            if model.SerializeToString(deterministic=True) != before:
                unused.discard(change)
        if not unused:
            break
    assert not unused


def test_mutations_follow_from_the_seed() -> None:
    models = [random_model(np.random.default_rng(0)) for _ in range(2)]
    done = [mutate(np.random.default_rng(1), model, 5) for model in models]
    assert done[0] == done[1]
    assert models[0].SerializeToString() == models[1].SerializeToString()


def test_a_short_run(tmp_path: Path) -> None:
    """In a process of its own, which has no threads when it forks."""
    command = [
        sys.executable,
        "-m",
        "tests.fuzz",
        "15",
        "--seed",
        "6",
        "--keep",
        str(tmp_path / "faults"),
    ]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False, timeout=300)
    faults = tmp_path / "faults" / "faults.txt"
    assert done.returncode == 0, faults.read_text() if faults.exists() else done.stderr
    found = re.search(r"(\d+) runs of (\d+) attempts, 0 faults", done.stdout)
    assert found is not None
    assert int(found[1]) >= 15


def test_atheris_finds_nothing(tmp_path: Path) -> None:
    pytest.importorskip("atheris", reason="not installed: pip install atheris")
    command = [
        sys.executable,
        "-m",
        "tests.fuzz.guided",
        "-runs=300",
        "-seed=1",
        f"-artifact_prefix={tmp_path}/",
    ]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "Done 300 runs" in done.stderr


def test_a_file_that_no_search_has_changed_is_read() -> None:
    try_file(random_model(np.random.default_rng(0)).SerializeToString())
    try_file(b"no model")


FAULTS = {
    "import os; os.kill(os.getpid(), 11)": "crash",
    "raise KeyError('x')": "not caught",
    "sys.stderr.write('onnxzip: x.onnx: internal error: KeyError'); code = 1": "internal error",
    "sys.stderr.write('onnxzip: x.onnx: failed; please report this model'); code = 1": "own fault",
    "sys.stderr.write('onnxzip: x.onnx: \\x1b[31m'); code = 1": "untidy",
    "sys.stderr.write('onnxzip: x.onnx: std::bad_alloc'); code = 1": "untidy",
    "sys.stderr.write('Warning: x'); code = 0": "untidy",
    "code = 1": "untidy",
    "sys.stderr.write('onnxzip: x.onnx: is damaged'); code = 1": "refused",
    "code = 0": "done",
}


@pytest.mark.parametrize("program", FAULTS)
def test_how_a_run_ended(program: str, tmp_path: Path) -> None:
    script = f"""
import sys
from pathlib import Path
from tests.fuzz.forks import run_forked
from tests.fuzz.outcomes import outcome_of_run

def work():
    code = 0
    scope = {{"sys": sys, "code": code}}
    exec({program!r}, scope)
    return scope["code"]

folder = Path({str(tmp_path)!r}) / "run"
(folder / "tmp").mkdir(parents=True)
print(outcome_of_run(run_forked(work, folder)).name)
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT, check=True
    )
    assert done.stdout.strip() == FAULTS[program]
