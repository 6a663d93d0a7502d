"""Arrays without elements: the past of a first step is one, a sample that holds nothing is not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from onnxzip.errors import CalibrationError
from onnxzip.inputs.given.from_files import load_calibration
from onnxzip.runtime.input_spec import InputSpec

F32, I64 = np.dtype("float32"), np.dtype("int64")
IDS = InputSpec("input_ids", I64, ("batch", "sequence"))
PAST = InputSpec("past.key", F32, ("batch", 2, "past", 6))
PAST_FIRST = InputSpec("past.key", F32, ("past", "batch", 2, 6))
STACKED = InputSpec("past", F32, (4, 2, "batch", 2, "past_length", 6))
UNNAMED = InputSpec("past.key", F32, (None, 2, None, 6))
FIXED = InputSpec("past.key", F32, (1, 2, "past", 6))
WORDS = np.arange(512).reshape(64, 8)
Save = Callable[[Path, dict[str, np.ndarray]], Any]


def as_npz(folder: Path, arrays: dict[str, np.ndarray]) -> Path:
    np.savez(folder / "data.npz", **arrays)
    return folder / "data.npz"


def as_npz_files(folder: Path, arrays: dict[str, np.ndarray]) -> Path:
    folder = folder / str(len(arrays))
    folder.mkdir()
    np.savez(folder / "one.npz", **arrays)
    return folder


def as_npy_files(folder: Path, arrays: dict[str, np.ndarray]) -> Path:
    folder = folder / str(len(arrays))
    folder.mkdir()
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", array)
    return folder


def as_dict(folder: Path, arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return arrays


def as_runs(folder: Path, arrays: dict[str, np.ndarray]) -> list[dict[str, np.ndarray]]:
    return [arrays]


EVERY_WAY = pytest.mark.parametrize(
    "save", [as_npz, as_npz_files, as_npy_files, as_dict, as_runs], ids=lambda save: save.__name__
)


@EVERY_WAY
@pytest.mark.parametrize(
    ("past", "shape", "axis"),
    [
        (PAST, (64, 2, 0, 6), 0),
        (PAST_FIRST, (0, 64, 2, 6), 1),
        (STACKED, (4, 2, 64, 2, 0, 6), 2),
        (UNNAMED, (64, 2, 0, 6), 0),
        (FIXED, (64, 2, 0, 6), 0),
    ],
    ids=["batch first", "past first", "stacked", "unnamed", "fixed batch"],
)
def test_a_past_of_length_0_is_cut_like_any_other(
    save: Save, past: InputSpec, shape: tuple[int, ...], axis: int, tmp_path: Path
) -> None:
    ids = InputSpec("input_ids", I64, (1, "sequence")) if past is FIXED else IDS
    data = {"input_ids": WORDS, "past.key" if past is not STACKED else "past": np.zeros(shape, F32)}
    feeds, _ = load_calibration(save(tmp_path, data), [past, ids])
    assert feeds.n_samples == 64
    for run, size in zip(feeds, feeds.sizes, strict=True):
        assert len(run["input_ids"]) == run[past.name].shape[axis] == size
        assert run[past.name].size == 0
    np.testing.assert_array_equal(np.concatenate([run["input_ids"] for run in feeds]), WORDS)


def test_an_empty_past_for_one_sample_stands_for_all() -> None:
    data = {"input_ids": WORDS, "past.key": np.zeros((1, 2, 0, 6), F32)}
    feeds, _ = load_calibration(data, [IDS, PAST])
    assert [run["past.key"].shape for run in feeds] == [(8, 2, 0, 6)] * 8


@EVERY_WAY
@pytest.mark.parametrize(
    ("ids", "past", "message"),
    [
        ((0, 8), (0, 2, 0, 6), "no sample in|has no sample|no element"),
        ((0, 8), (64, 2, 3, 6), "no sample in|has no sample|no element"),
        ((64, 8), (0, 2, 0, 6), "no sample in|has no sample"),
        ((64, 0), (64, 2, 0, 6), r"no element in 'input_ids' of shape \(64, 0\)"),
        ((64, 0), (64, 2, 3, 6), r"no element in 'input_ids' of shape \(64, 0\)"),
    ],
)
def test_where_nothing_can_be_counted_or_told_it_is_refused(
    save: Save, ids: tuple[int, ...], past: tuple[int, ...], message: str, tmp_path: Path
) -> None:
    data = {"input_ids": np.zeros(ids, I64), "past.key": np.zeros(past, F32)}
    with pytest.raises(CalibrationError, match=message) as caught:
        load_calibration(save(tmp_path, data), [PAST, IDS])
    assert "\n" not in str(caught.value)


@EVERY_WAY
def test_samples_of_the_only_input_hold_something(save: Save, tmp_path: Path) -> None:
    specs = [InputSpec("x", F32, ("n", "time", 96)), InputSpec("sr", I64, ())]
    for inputs in (specs[:1], specs):
        arrays = {"x": np.zeros((64, 0, 96), F32), "sr": np.array(16000)}
        data = save(tmp_path, {spec.name: arrays[spec.name] for spec in inputs})
        with pytest.raises(CalibrationError, match=r"no element in 'x' of shape \(64, 0, 96\)"):
            load_calibration(data, inputs)
