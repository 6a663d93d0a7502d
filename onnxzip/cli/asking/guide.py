"""Shows a page of the guide: laid out, and a screen at a time, on a terminal; as it is in a pipe."""

from __future__ import annotations

import argparse
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, NoReturn

from onnxzip.cli.streams import write_output
from onnxzip.cli.terminal import render
from onnxzip.guide.pages import START, read_page, topics

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderResult

_MAX_WIDTH = 100
"""Columns: longer lines of text are hard to follow."""

_CODE_THEME = "ansi_light"
"""Of rich: it sets no background, and takes the terminal's own dark colours."""

_STYLES = {"markdown.code": "bold", "markdown.h1": "bold", "markdown.h2": "bold underline"}
"""For rich's own, of which some set a background."""

_OF_LESS = {"LESS": "FRX", "LV": "-c"}
"""What git sets where the user has not: colours pass, and what fits on one screen ends at once
(git-config(1), core.pager)."""


class ShowGuide(argparse.Action):
    """Show a page of the guide and exit."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[object] | None,
        option_string: str | None = None,
    ) -> NoReturn:
        """Show the page that `values` names, the first one where it names none.

        Raises:
            UsageError: there is no such page.
            OutputError: stdout is closed or full.
        """
        show_page(values if isinstance(values, str) else START)
        parser.exit()


def show_page(topic: str) -> None:
    """Show a page on stdout; with a pager where that is a terminal."""
    page = read_page(topic)
    if not sys.stdout.isatty():
        write_output(page)
        return
    text = render(_Laid(_with_commands(page)))
    if not _is_paged(text):
        write_output(text)


class _Laid:
    """Markdown as it stands on a terminal, light or dark."""

    def __init__(self, page: str) -> None:
        self._page = page

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        from rich.markdown import Markdown
        from rich.theme import Theme

        laid = Markdown(self._page, code_theme=_CODE_THEME, hyperlinks=False)
        with console.use_theme(Theme(_STYLES)):
            yield from console.render(laid, options.update(width=min(options.max_width, _MAX_WIDTH)))


def _with_commands(page: str) -> str:
    """Return a page in which a link to another one is the command that shows it."""
    of_pages = re.compile(rf"\[[^]]+\]\(({'|'.join(topics())})\.md\)")
    return of_pages.sub(r"`onnxzip --guide \1`", page)


def _is_paged(text: str) -> bool:
    """Show a text in the user's pager; False where there is none."""
    command = shlex.split(os.environ.get("PAGER", "less"))
    if not command or shutil.which(command[0]) is None:
        return False
    previous = signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the pager
    try:
        subprocess.run(
            command,
            input=text,
            text=True,
            encoding=sys.stdout.encoding,
            errors="replace",
            env={**_OF_LESS, **os.environ},
            check=False,
        )
    finally:
        signal.signal(signal.SIGINT, previous)
    return True
