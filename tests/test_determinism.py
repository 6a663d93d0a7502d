"""Same input, options and seed: same bytes, however many jobs, processes or hash seeds."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

import onnxzip
from onnxzip.report.record import Report
from tests.cases import CASES
from tests.speed import tell_times

MODELS_TRIED = ["residual_network", "if_initializers", "float16_conv"]
SETTINGS: list[Mapping[str, object]] = [
    {},
    {"objective": "speed", "tolerance": 0.3, "level": 2, "best_effort": True},
    {"metric": "cosine", "passes": ("codebook", "wavelet", "dct"), "level": 3},
]


def fingerprint(report: Report) -> object:
    """Return all that a report says of the result, but for the time it took."""
    found = (report.output_sha256, report.layers, report.skips, report.rewrites, report.checks)
    return (*found, report.trials, report.examples)


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
@pytest.mark.parametrize("name", MODELS_TRIED)
def test_twice_and_in_parallel(
    name: str, settings: Mapping[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    tell_times(monkeypatch)
    model = CASES[name].build()
    first, again, parallel = (onnxzip.compress(model, n_jobs=n_jobs, **settings) for n_jobs in (1, 1, 2))
    assert fingerprint(first.report) == fingerprint(again.report) == fingerprint(parallel.report)
    written = {r.model.SerializeToString(deterministic=True) for r in (first, again, parallel)}
    assert len(written) == 1


def test_path_bytes_and_proto_give_the_same_file(tmp_path: Path) -> None:
    """Only the name of the source may differ, and it is not in the file."""
    path = CASES["residual_network"].write(tmp_path)
    elsewhere = tmp_path / "other folder" / "renamed.onnx"
    elsewhere.parent.mkdir()
    elsewhere.write_bytes(path.read_bytes())
    sources = [path, str(elsewhere), path.read_bytes(), CASES["residual_network"].build()]
    results = [onnxzip.compress(source, passes="scalar", level=3) for source in sources]
    hashes = {result.report.output_sha256 for result in results}
    assert len(hashes) == 1


def test_writing_over_a_file_gives_the_same_file(tmp_path: Path) -> None:
    """What was there before leaves no trace."""
    path, out = CASES["residual_network"].write(tmp_path), tmp_path / "out.onnx"
    onnxzip.compress(path, out, passes="scalar")
    before = out.read_bytes()
    out.write_bytes(before + b"more")
    onnxzip.compress(path, out, passes="scalar", overwrite=True)
    assert out.read_bytes() == before


def test_other_processes_and_hash_seeds(tmp_path: Path) -> None:
    """The order of sets and dicts of strings differs between processes; the file does not."""
    path, hashes = CASES["residual_network"].write(tmp_path), set()
    for hash_seed, jobs in (("1", "1"), ("2", "2")):
        out = tmp_path / f"{hash_seed}.onnx"
        command = [sys.executable, "-m", "onnxzip", str(path), str(out)]
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
        done = subprocess.run(
            [*command, "-q", "-j", jobs], env=environment, check=False, capture_output=True, timeout=120
        )
        assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
        hashes.add(out.read_bytes())
    hashes.add((tmp_path / "1.onnx").read_bytes())
    assert len(hashes) == 1


def test_the_seed_matters_and_is_reported() -> None:
    """Another seed draws other inputs: the figures differ, and the report says which seed it was."""
    model = CASES["residual_network"].build()
    reports = {seed: onnxzip.compress(model, passes="scalar", seed=seed).report for seed in (0, 1)}
    for seed, report in reports.items():
        assert report.settings["seed"] == seed
        assert {check.seed for check in report.checks if check.kind == "drift"} == {seed}
    drifts = {r.checks[-1].value for r in reports.values()}
    assert len(drifts) == 2


def test_own_data_makes_the_seed_irrelevant_to_scalar() -> None:
    """With calibration data and no random pass, the seed changes nothing."""
    case = CASES["residual_network"]
    feeds = [case.feeds(0)]
    results = [
        onnxzip.compress(case.build(), passes="scalar", calibration=feeds, seed=seed).report
        for seed in (0, 5)
    ]
    assert len({report.output_sha256 for report in results}) == 1
    judging = [check for check in results[0].checks if check.kind != "opinion"]
    assert all(check.seed is None for check in judging)


def test_input_model_is_not_changed() -> None:
    """A ModelProto, calibration arrays and labels that are handed in stay as they are."""
    case = CASES["residual_network"]
    model, feeds = case.build(), case.feeds(0)
    before = model.SerializeToString(deterministic=True)
    kept = {name: array.copy() for name, array in feeds.items()}
    onnxzip.compress(model, calibration=[feeds])
    assert model.SerializeToString(deterministic=True) == before
    for name, array in feeds.items():
        np.testing.assert_array_equal(array, kept[name])
