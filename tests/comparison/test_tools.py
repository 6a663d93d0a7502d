"""The tools that there are: found by their files, installed by an extra, called as they say."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from onnxzip.comparison.tools import Task, Tool, described, tools
from onnxzip.comparison.trying import best_of
from onnxzip.inputs.feedset import FeedSet
from onnxzip.records.check import Check
from onnxzip.runtime.apart import Limits
from tests.comparison.dense import inputs, write_dense

ROOT = Path(__file__).parents[2]
BY_HAND = {"nncodec"}
"""Needs numpy before 2 and all of torch: nobody should get that by an extra."""

LIMITS = Limits(cpu_s=300, wall_s=300)
CHECK = Check("drift", "CPU", "nrmse", 0.0, 0.1, True, 8)


def test_every_file_is_found() -> None:
    folder = ROOT / "onnxzip" / "comparison" / "tools"
    assert set(tools()) == {path.stem for path in folder.glob("*.py") if not path.stem.startswith("_")}
    assert len(tools()) >= 8
    assert len({tool.name for tool in tools().values()}) == len(tools())


def test_what_they_need_is_in_the_extra() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extra = {line.partition(">")[0] for line in project["optional-dependencies"]["bench"]}
    assert extra == {name for tool in tools().values() for name in tool.needs} - BY_HAND


@pytest.mark.parametrize("is_within", [True, False])
@pytest.mark.parametrize("tool", tools().values(), ids=lambda tool: tool.name)
def test_settings_come_to_an_end(tool: Tool, is_within: bool) -> None:
    asked = tool.settings()
    setting = next(asked)
    n_asked = 1
    while True:
        assert tool.describe(setting).isprintable()
        try:
            setting = asked.send(is_within)
        except StopIteration:
            break
        n_asked += 1
    assert n_asked <= 12


def test_settings_in_words() -> None:
    assert described({"per_channel": True, "signed": False, "n": 64}) == "per_channel, n 64"
    assert described({}) == ""


@pytest.mark.parametrize("limit", range(-61, -4))
def test_nncodec_finds_the_coarsest_step_within_the_limit(limit: int) -> None:
    from onnxzip.comparison.tools.nnc import coarsest

    asked = coarsest(-6, -60, {"other": 1})
    found: int | None = None
    setting = next(asked)
    n_asked = 1
    while True:
        try:
            setting = asked.send(int(setting["qp"]) <= limit)
        except StopIteration as end:
            found = end.value
            break
        n_asked += 1
    assert found == (min(limit, -6) if limit >= -60 else None)
    assert n_asked <= 6


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A layer whose weight lies in a file of its own."""
    return write_dense(tmp_path_factory.mktemp("source") / "dense.onnx", 4096, has_data=True)


LARGEST = {
    **{"float16": 0.52, "dynamic_int8": 0.3, "shrink_ray": 0.3, "slim": 1.01, "nnc": 0.3},
    **{"static_int8": 0.45, "xz": 0.95, "zstd": 0.95},
}
"""Shares of the plain files that what they ship must not exceed: bits a weight, and some graph."""


@pytest.mark.parametrize("name", tools())
def test_an_installed_tool_ships_what_it_says(
    name: str, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With its first setting. External data counts; what is not installed says how it is."""
    setting = next(tools()[name].settings())
    monkeypatch.setattr(type(tools()[name]), "settings", lambda self: (yield setting))
    files = (source, source.with_name("dense.data"))
    task = Task(source, files, FeedSet(({"x": inputs(4)},), (4,)), tmp_path)
    tool = tools()[name]
    line, model = best_of(tool, task, lambda _: CHECK, LIMITS)
    if tool.missing:
        assert line.problem == f"not installed: pip install {' '.join(tool.missing)}"
        return
    assert line.problem == ""
    assert model is not None
    assert model.is_file()
    assert line.n_bytes is not None
    assert 0 < line.n_bytes <= LARGEST[name] * sum(path.stat().st_size for path in files)
