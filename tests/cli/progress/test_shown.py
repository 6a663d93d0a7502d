"""Progress as it is seen: on terminals of several widths, and in logs."""

from __future__ import annotations

import io
import time

import pyte
import pytest
from rich.console import Console

from onnxzip.cli.progress import work as work_module
from onnxzip.cli.progress.bar import _Line
from onnxzip.cli.progress.lines import Lines
from onnxzip.cli.progress.work import Work


def screen_of(work: Work, width: int) -> list[str]:
    """Return the lines of a terminal of a width that shows the work."""
    file = io.StringIO()
    Console(file=file, width=width, force_terminal=True).print(_Line(work))
    screen = pyte.Screen(width, 5)
    pyte.Stream(screen).feed(file.getvalue().replace("\n", "\r\n"))
    return [line.rstrip() for line in screen.display if line.strip()]


@pytest.fixture
def work(monkeypatch: pytest.MonkeyPatch) -> Work:
    now = [100.0]
    monkeypatch.setattr(work_module.time, "monotonic", lambda: now[0])
    work = Work("starting")
    now[0] = 140.0
    return work


@pytest.mark.parametrize("width", [20, 40, 60, 80, 200])
def test_it_is_one_line_at_any_width(width: int, work: Work) -> None:
    work.show("12/30 done, a/long/path/of/a/model.onnx: layer 3 of 11", 0.5)
    assert len(screen_of(work, width)) == 1


def test_at_60_and_80_columns_every_figure_is_there(work: Work) -> None:
    work.show("sensitivity 33 of 101", 0.5)
    for width in (60, 80):
        (line,) = screen_of(work, width)
        assert "sensitivity 33 of 101" in line
        assert line.endswith("50%   0:40  about 40 s left")


def test_columns_stay_where_they_are(work: Work) -> None:
    places = set()
    for stage, fraction in (("reading", 0.01), ("layer 3 of 11", 0.3), ("refit 10 of 44", 0.8)):
        work.show(stage, fraction)
        places.add(screen_of(work, 80)[0].index("%"))
    assert len(places) == 1


def test_it_never_runs_back_nor_claims_to_be_done(work: Work) -> None:
    work.show("trial 3", 0.8)
    work.show("trial 4", 0.7)
    assert work.percent == "80%"
    work.show("done", 1.0)
    assert work.percent == "99%"


def test_without_a_fraction_time_still_moves(work: Work) -> None:
    (line,) = screen_of(work, 80)
    assert "starting" in line
    assert "0:40" in line
    assert "%" not in line
    assert "left" not in line


def test_a_log_gets_a_line_now_and_then_and_none_of_a_short_run() -> None:
    work, lines = Work("starting"), []
    with Lines(work, lines.append):
        work.show("reading [bold]", 0.1)
    assert lines == []
    with Lines(work, lines.append, every_s=0.01):
        deadline = time.monotonic() + 20
        while not lines and time.monotonic() < deadline:
            time.sleep(0.01)
    assert lines[0] == "10%, 0:00, reading [bold]"
