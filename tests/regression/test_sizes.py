"""Files do not grow unnoticed: sizes are as pinned, and a pin that is missing or stale is a failure."""

from __future__ import annotations

from pathlib import Path

import pytest

from onnxzip.codec.level import FIRST_CODED_LEVEL
from tests.regression import sizes
from tests.regression.sizes import SETTINGS, Setting, Size, find_fault, measure, read
from tests.test_models import MODELS, NAMES

TRIED = [
    *(Setting(model, 6, "data") for model in NAMES),
    *(Setting(model, 1, "none") for model in NAMES),
    Setting("digits_attention", 1, "data"),
    Setting("digits_gru", 3, "none"),
    Setting("digits_gru", 6, "none"),
    Setting("digits_gru", 9, "none"),
]
"""What every run of the tests compresses: each model packed and coded, and each level once."""

PIN = {Setting("m", 6, "none"): Size(10_000, 0.09, 0.1)}


@pytest.mark.parametrize("setting", TRIED, ids=str)
def test_size_is_as_pinned(setting: Setting) -> None:
    fault = find_fault(setting, measure(setting), read())
    assert fault is None, fault


@pytest.mark.bench
@pytest.mark.parametrize("setting", SETTINGS, ids=str)
def test_every_size_is_as_pinned(setting: Setting) -> None:
    fault = find_fault(setting, measure(setting), read())
    assert fault is None, fault


def test_every_model_and_level_has_its_row() -> None:
    assert set(NAMES) == {path.stem for path in MODELS.glob("*.onnx")}
    assert list(read()) == list(SETTINGS)


def test_small_models_are_packed_alike_and_coded_alike() -> None:
    """The levels differ in how many weights they may code, and these models are below all limits."""
    pinned = read()
    for setting, size in pinned.items():
        alike = setting._replace(level=1 if setting.level < FIRST_CODED_LEVEL else 6)
        assert size.n_bytes == pinned[alike].n_bytes


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (Size(10_100, 0.09, 0.1), None),
        (Size(10_101, 0.09, 0.1), "10,000 -> 10,101 bytes, more than 1% larger"),
        (Size(9_500, 0.09, 0.1), None),
        (Size(9_499, 0.09, 0.1), "more than 5% smaller; pin the gain: python -m tests.regression.sizes"),
        (Size(10_000, 0.11, 0.1), "loses 0.1100 of 0.1"),
        (Size(10_000, 0.09, 0.2), "the pinned limit is 0.1"),
    ],
)
def test_what_counts_as_a_fault(found: Size, words: str | None) -> None:
    fault = find_fault(Setting("m", 6, "none"), found, PIN)
    assert (fault is None) if words is None else (words in str(fault))


def test_a_row_or_a_file_that_is_missing_is_a_fault(tmp_path: Path) -> None:
    assert "has no row" in str(find_fault(Setting("m", 9, "none"), Size(1, 0.0, 0.1), PIN))
    with pytest.raises(FileNotFoundError):
        read(tmp_path / "sizes.csv")
    (tmp_path / "sizes.csv").write_text("model,bytes\nm,1\n")
    with pytest.raises(ValueError, match="columns"):
        read(tmp_path / "sizes.csv")
    assert [path.name for path in tmp_path.iterdir()] == ["sizes.csv"]


def test_what_is_written_is_read_and_its_changes_are_told(tmp_path: Path) -> None:
    sizes.write(PIN, tmp_path / "sizes.csv")
    assert read(tmp_path / "sizes.csv") == PIN
    (key,) = PIN
    changed = {key: Size(9_000, 0.08, 0.1), Setting("n", 1, "data"): Size(1, 0.0, 0.1)}
    told = list(sizes.describe_changes(PIN, changed))
    assert len(told) == 2
    assert "10,000 ->     9,000 (-10.00%), loss 0.0900 -> 0.0800" in told[0]
    assert told[1].endswith("new")
    assert list(sizes.describe_changes(PIN, PIN)) == []
