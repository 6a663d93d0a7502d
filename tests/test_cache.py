"""--cache: the same files, to the last byte, from what earlier runs have kept."""

from __future__ import annotations

import errno
import logging
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import onnxzip
from onnxzip.disk.cache.store import FOLDER, Store
from onnxzip.errors import OutputError, UsageError
from onnxzip.measure.moments import second_moments
from onnxzip.propose.working import recalled, surroundings
from onnxzip.report.record import Report
from tests.cases import CASES

MODEL = CASES["residual_network"].build()
IMAGES = np.random.default_rng(0).standard_normal((96, 16, 10, 12), dtype=np.float32)
FITTED: Mapping[str, Any] = {"calibration": IMAGES, "passes": ("scalar",)}
"""With data, so that there are statistics, trials and refits."""


def compress(
    cache: Path | None, model: onnx.ModelProto = MODEL, **settings: Any
) -> tuple[bytes, Report]:
    """Return the file that is made, and its report without what a cache may change in it."""
    result = onnxzip.compress(model, cache=cache, **{**FITTED, **settings})
    assert result.model is not None
    return result.model.SerializeToString(deterministic=True), result.report


def result_of(report: Report) -> Report:
    """Return a report without what a cache may change in it."""
    return replace(report, recalled=(), seconds=0.0, load_seconds=None, peak_memory=None, command="")


def shares(report: Report) -> dict[str, tuple[int, int]]:
    """Return how many results were looked up, and of how many, by kind."""
    return {found.kind: (found.n_recalled, found.n_wanted) for found in report.recalled}


@pytest.fixture(scope="module")
def cold(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, bytes, Report]:
    """A cache that one run has filled, and what it made."""
    folder = tmp_path_factory.mktemp("cache")
    return (folder, *compress(folder))


def test_a_cache_changes_no_byte(cold: tuple[Path, bytes, Report]) -> None:
    folder, filled, told = cold
    plain, expected = compress(None)
    again, warm = compress(folder)
    assert plain == filled == again
    assert result_of(expected) == result_of(told) == result_of(warm)
    assert expected.recalled == ()
    assert set(shares(told)) == set(shares(warm)) >= {"refits", "trials", "sensitivities"}
    assert all(n_recalled < n_wanted for n_recalled, n_wanted in shares(told).values())
    assert all(n_recalled == n_wanted > 0 for n_recalled, n_wanted in shares(warm).values())


def test_what_is_kept_is_not_worked_out_again(
    cold: tuple[Path, bytes, Report], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise AssertionError("worked out")

    monkeypatch.setattr(recalled, "collect_offers", fail)
    monkeypatch.setattr(second_moments, "open_session", fail)
    assert compress(cold[0])[0] == cold[1]


OF_WEIGHTS = {"statistics of weights", "weights' candidates"}
CHANGES: Mapping[str, tuple[Mapping[str, Any], set[str]]] = {
    "another tolerance": ({"tolerance": 0.05}, OF_WEIGHTS),
    "another pass": ({"passes": ("dct",)}, {"statistics of weights"}),
    "other data": ({"calibration": IMAGES + np.float32(1e-3)}, set()),
}


@pytest.mark.parametrize("change", CHANGES)
def test_only_what_follows_from_the_same_is_looked_up(
    change: str, cold: tuple[Path, bytes, Report]
) -> None:
    """And other options make what they make without a cache."""
    changed, kept = CHANGES[change]
    found, report = compress(cold[0], **changed)
    assert found == compress(None, **changed)[0]
    looked_up = {kind for kind in OF_WEIGHTS if shares(report)[kind][0]}
    assert looked_up == kept
    assert all(shares(report)[kind] == (3, 3) for kind in kept)


def test_weights_that_a_model_shares_with_another_are_looked_up(tmp_path: Path) -> None:
    """As in a folder of models that were trained from one: without data, what they meet is not known."""
    settings: Mapping[str, Any] = {"calibration": None, "passes": "scalar"}
    gemm = CASES["two_layer_perceptron"].build()
    other = onnx.ModelProto()
    other.CopyFrom(gemm)
    tensor = other.graph.initializer[0]
    array = onnx.numpy_helper.to_array(tensor).copy()
    array.flat[0] += 0.5
    tensor.CopyFrom(onnx.numpy_helper.from_array(array, tensor.name))
    compress(tmp_path, gemm, **settings)
    found, report = compress(tmp_path, other, **settings)
    assert found == compress(None, other, **settings)[0]
    n_recalled, n_wanted = shares(report)["weights' candidates"]
    assert n_recalled == n_wanted - 1 > 0


def test_damaged_entries_are_made_again(
    cold: tuple[Path, bytes, Report], caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    _, expected, _ = cold
    compress(tmp_path)
    entries = [path for path in (tmp_path / FOLDER).rglob("*") if len(path.name) == 62]
    for i, path in enumerate(entries):
        written = path.read_bytes()
        path.write_bytes(written[: len(written) // 2] if i % 2 else b"x" + written[1:])
    with caplog.at_level(logging.DEBUG, "onnxzip"):
        found, report = compress(tmp_path)
    assert found == expected
    # Of statistics, which are measured together, the first one is enough to see that.
    assert caplog.text.count("is damaged, and is made again") == len(entries) - 2
    assert shares(report)["weights' candidates"][0] == 0
    assert all(n == n_all for n, n_all in shares(compress(tmp_path)[1]).values())


def test_entries_of_another_kind_are_made_again(
    cold: tuple[Path, bytes, Report], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever can write into the folder can hand in anything that has the right digest."""
    folder, expected, _ = cold
    real = Store.read
    sound = [b"PK\x05\x06" + bytes(18), b"{}", b""]

    def read(self: Store, key: str) -> bytes | None:
        return None if real(self, key) is None else sound[int(key[0], 16) % 3]

    monkeypatch.setattr(Store, "read", read)
    monkeypatch.setattr(Store, "write", lambda *_: None)
    assert compress(folder)[0] == expected


class StoppedError(Exception):
    """Stands for a kill."""


@pytest.mark.parametrize(
    ("stage", "kinds"),
    [
        ("layer 2 of 3", {"statistics of weights": 3, "weights' candidates": 2}),
        ("rewriting", {"weights' candidates": 3, "sensitivities": 3, "refits": 4, "trials": 4}),
    ],
    ids=["layers", "rewriting"],
)
def test_a_run_that_was_stopped_goes_on_where_it_was(
    stage: str, kinds: Mapping[str, int], tmp_path: Path, cold: tuple[Path, bytes, Report]
) -> None:
    def stop(now: str, fraction: float) -> None:
        if now == stage:
            raise StoppedError

    with pytest.raises(StoppedError):
        compress(tmp_path, progress=stop)
    found, report = compress(tmp_path)
    assert found == cold[1]
    assert all(shares(report)[kind][0] >= n for kind, n in kinds.items())


def test_what_a_function_of_the_users_says_is_asked_each_time(tmp_path: Path) -> None:
    """It may read what it likes: nobody knows what its answer follows from."""
    allowed = [1e9]

    def limit(before: Mapping[str, np.ndarray], after: Mapping[str, np.ndarray]) -> float:
        change = max(float(np.abs(before[name] - after[name]).max()) for name in before)
        return change / allowed[0]

    settings = {"metric": limit, "tolerance": 1.0}
    loose, _ = compress(tmp_path, **settings)
    allowed[0] = 0.5
    tight, report = compress(tmp_path, **settings)
    assert len(tight) > len(loose)
    assert tight == compress(None, **settings)[0]
    assert "trials" not in shares(report)
    assert shares(report)["weights' candidates"] == (3, 3)


def test_code_that_changes_is_asked_again(
    cold: tuple[Path, bytes, Report], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A pass that somebody works on, whose version stays what it was."""
    (tmp_path / "mine.py").write_text("# a pass")
    folders = surroundings.folders_of_passes()
    monkeypatch.setattr(surroundings, "folders_of_passes", lambda: [*folders, tmp_path])
    monkeypatch.setattr(surroundings, "code", surroundings.code.__wrapped__)  # which it is read once for
    assert all(n == 0 for n, _ in list(shares(compress(cold[0])[1]).values())[:2])


@pytest.mark.parametrize("call", ["write", "read"])
def test_a_disk_that_fails_is_told_of_and_costs_no_result(
    call: str, cold: tuple[Path, bytes, Report], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    real = Path.read_bytes
    if call == "write":
        monkeypatch.setattr(Store, "write", fail)
    else:
        monkeypatch.setattr(Path, "read_bytes", lambda p: fail() if FOLDER in p.parts else real(p))
    found, report = compress(tmp_path)
    assert found == cold[1]
    warned = [warning.text for warning in report.warnings if warning.kind == "cache"]
    expected = "cache: what was worked out is not kept: No space left on device; free some space"
    assert len(warned) == (call == "write")
    assert all(text.startswith(expected) for text in warned)


def test_settings_that_cannot_be_are_refused(tmp_path: Path) -> None:
    source = CASES["two_layer_perceptron"].write(tmp_path)
    with pytest.raises(OutputError, match=re.escape(f"cache {source}: cannot be written")):
        onnxzip.compress(source, cache=source)
    for settings, finding in (
        ({"cache": 3}, "cache 3 is not a path"),
        ({"cache": tmp_path, "cache_size": 0}, "cache_size 0 is not a size of a byte or more"),
        ({"cache_size": "1GB"}, "cache_size bounds what cache keeps; name that folder"),
    ):
        with pytest.raises(UsageError, match=finding):
            onnxzip.Options(**settings)
