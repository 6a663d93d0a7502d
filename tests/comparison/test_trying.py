"""A tool is tried in processes of its own: what it makes, and each way in which it makes nothing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from onnxzip.comparison.tools import Task, Tool
from onnxzip.comparison.trying import best_of
from onnxzip.errors import ModelError
from onnxzip.inputs.feedset import FeedSet
from onnxzip.records.check import Check
from onnxzip.runtime.apart import Limits
from tests.comparison import fake_tools as fakes

LIMITS = Limits(cpu_s=60, wall_s=60)
CHECK = Check("drift", "CPU", "nrmse", 0.05, 0.1, True, 8)


@pytest.fixture
def task(tmp_path: Path) -> Task:
    source = tmp_path / "given.onnx"
    source.write_bytes(b"12345")
    folder = tmp_path / "work"
    folder.mkdir()
    return Task(source, (source,), FeedSet((), ()), folder)


def test_what_a_tool_ships_counts_and_nothing_else(task: Task) -> None:
    line, model = best_of(fakes.Copies(), task, lambda _: CHECK, LIMITS)
    assert model is not None
    assert model.read_bytes() == b"12345"
    assert (line.n_bytes, line.problem, line.loss) == (5, "", None)
    assert line.seconds > 0
    assert not Path("left-behind").exists()


def test_a_tool_is_told_what_its_settings_come_to(task: Task) -> None:
    """The smallest within the limit is kept, and the files of the others are gone."""

    def judge(model: Path) -> Check:
        n_bytes = (model.parent / "more").stat().st_size
        return replace(CHECK, value=n_bytes / 1000, passed=n_bytes < 250)

    line, model = best_of(fakes.Steps(), task, judge, LIMITS)
    assert [(t.setting, t.n_bytes, t.loss) for t in line.tried] == [
        ("padding 300", 305, 0.3),
        ("padding 200", 205, 0.2),
    ]
    assert (line.setting, line.n_bytes) == ("padding 200", 205)
    assert model is not None
    assert len(list(task.folder.iterdir())) == 1


def test_where_none_is_within_the_limit_the_one_that_loses_least_counts(task: Task) -> None:
    def judge(model: Path) -> Check:
        n_bytes = (model.parent / "more").stat().st_size
        return replace(CHECK, value=40.0 - n_bytes, passed=False, higher_is_better=True)

    line, _ = best_of(fakes.Steps(), task, judge, LIMITS)
    assert len(line.tried) == 3
    assert line.setting == "padding 100"


@pytest.mark.parametrize(
    ("tool", "problem"),
    [
        (fakes.Fails(), "failed: ValueError: no such layer"),
        (fakes.Leaves(), "failed: SystemExit: cannot read it"),
        (fakes.Crashes(), "failed: makes onnxruntime crash"),
        (fakes.Missing(), "not installed: pip install no-such-package"),
    ],
    ids=lambda value: value.name if isinstance(value, Tool) else "",
)
def test_each_way_to_make_nothing_has_a_line(tool: Tool, problem: str, task: Task) -> None:
    line, model = best_of(tool, task, lambda _: CHECK, LIMITS)
    assert model is None
    assert line.problem.startswith(problem)
    assert line.problem.isprintable()
    assert line.n_bytes is None
    assert not list(task.folder.iterdir())


def test_a_tool_that_hangs_is_given_up(task: Task) -> None:
    line, _ = best_of(fakes.Hangs(), task, lambda _: CHECK, Limits(cpu_s=60, wall_s=2))
    assert line.problem == "failed: is not done after 2 s"


def test_what_does_not_run_is_no_result(task: Task) -> None:
    def judge(model: Path) -> Check:
        raise ModelError(f"{model.name}: cannot be loaded", step="export it again")

    line, model = best_of(fakes.Copies(), task, judge, LIMITS)
    assert model is None
    assert line.problem == "failed: model.onnx: cannot be loaded"
    assert line.tried[0].problem == "model.onnx: cannot be loaded"


def test_no_setting_begins_when_time_is_up(task: Task, monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = iter([0.0, 0.0, 100.0, 200.0])
    monkeypatch.setattr("onnxzip.comparison.trying.time.perf_counter", lambda: next(ticks))
    line, _ = best_of(fakes.Steps(), task, lambda _: replace(CHECK, passed=False), LIMITS)
    assert len(line.tried) == 1


def test_progress_names_the_tool_and_never_falls(task: Task) -> None:
    shown: list[tuple[str, float]] = []
    failing = replace(CHECK, passed=False)
    best_of(fakes.Steps(), task, lambda _: failing, LIMITS, lambda *told: shown.append(told))
    assert [text for text, _ in shown] == [f"trying steps padding {n}" for n in (300, 200, 100)]
    fractions = [fraction for _, fraction in shown]
    assert fractions == sorted(fractions)
    assert 0 <= fractions[0] <= fractions[-1] < 1
