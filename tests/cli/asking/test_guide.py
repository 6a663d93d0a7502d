"""`--guide`: laid out and paged on a terminal, as Markdown in a pipe, and every topic is found."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import pytest

from onnxzip.cli.main import main
from onnxzip.guide.pages import read_page, topics


def guide(*arguments: str) -> int:
    with pytest.raises(SystemExit) as stop:
        main(["--guide", *arguments])
    assert isinstance(stop.value.code, int | None)
    return stop.value.code or 0


def on_terminal(*arguments: str, **environment: str) -> str:
    """Return what the command line writes to a terminal of 80 columns."""
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "onnxzip", *arguments]
    variables = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "80", **environment}
    process = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=variables)
    os.close(theirs)
    shown = b""
    try:
        while part := os.read(ours, 65536):
            shown += part
    except OSError:  # Linux's way of saying that nobody writes there any more
        pass
    finally:
        os.close(ours)
    assert process.wait() == 0, shown
    return shown.decode().replace("\r\n", "\n")


def test_without_a_topic_it_lists_all(capsys: pytest.CaptureFixture[str]) -> None:
    assert guide() == 0
    shown = capsys.readouterr().out
    assert shown == read_page("start")
    assert {*re.findall(r"\]\(([\w-]+)\.md\)", shown)} >= {*topics()} - {"start"}


@pytest.mark.parametrize("topic", topics())
def test_every_topic_is_shown_without_its_comments(
    topic: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert guide(topic) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("# ")
    assert "<!--" not in shown


@pytest.mark.parametrize("written", ["START", "start.md"])
def test_a_topic_may_be_written_otherwise(written: str) -> None:
    assert read_page(written) == read_page("start")


@pytest.mark.parametrize(
    ("topic", "step"), [("metric", "did you mean metrics?"), ("zzz", "there are "), ("../x", "there")]
)
def test_an_unknown_topic_is_an_error_of_usage(
    topic: str, step: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--guide", topic]) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.startswith(f"onnxzip: the guide has no topic '{topic}'; {step}")
    assert told.err.count("\n") == 1


def test_on_a_terminal_it_is_laid_out() -> None:
    shown = on_terminal("--guide", "metrics", PAGER="cat")
    plain = re.sub(r"\x1b\[[\d;]*m", "", shown)
    assert plain != shown
    assert "```" not in plain
    assert not re.search(r"\]\([\w-]+\.md\)", plain)
    assert all(len(line) <= 80 for line in plain.splitlines())


def test_a_pager_is_given_the_page(tmp_path: Path) -> None:
    pager = tmp_path / "pager"
    pager.write_text(f'#!/bin/sh\necho "$LESS" > "{tmp_path}/given"\ncat >> "{tmp_path}/given"\n')
    pager.chmod(0o755)
    assert on_terminal("--guide", PAGER=f"'{pager}' -x").strip() == ""
    setting, *page = (tmp_path / "given").read_text().splitlines()
    assert setting == os.environ.get("LESS", "FRX")
    assert any("onnxzip" in line for line in page)


@pytest.mark.parametrize("pager", ["", "no-such-pager"])
def test_without_a_pager_it_is_printed(pager: str) -> None:
    assert "onnxzip" in on_terminal("--guide", PAGER=pager)
