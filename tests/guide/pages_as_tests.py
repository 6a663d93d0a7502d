"""The guide's pages and README.md as tests: their blocks of sh and python, and what these have to print.

A comment before a block says what is special about it:

    <!-- exit: 3 -->             the block ends with this status, not 0
    <!-- not run: REASON -->     it is not run, for a reason that a reader of the page's source sees
    <!-- file: NAME -->          it is not run but written to this file, for the blocks behind it
    <!-- needs: NAME, ... -->    it is run only where these programs or Python packages are there

A block of text right behind it is what it prints, on stdout or stderr. "..." stands for anything, and
numbers may differ a little: they depend on onnxruntime's version.
"""

from __future__ import annotations

import importlib.util
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = (*sorted((ROOT / "onnxzip" / "guide").glob("*.md")), ROOT / "README.md")

RUNNABLE = ("sh", "python")

_MOST_OFF = 0.15
"""Of a number that is shown: files and losses move by some percent from one onnxruntime to the next."""

_NUMBER = r"-?\d[\d,]*(?:\.\d+)?(?:e[+-]?\d+)?"


@dataclass(frozen=True)
class Block:
    """A fenced block of a page that can be run.

    Attributes:
        page: where it stands.
        line: of its fence, from 1.
        language: "sh" or "python".
        code: what is run.
        remarks: of the comment before it, by name: "exit", "not run", "file", "needs".
        printed: what it prints, lines with "..." for what may be anything; None where the page does not
            say.
    """

    page: Path
    line: int
    language: str
    code: str
    remarks: dict[str, str] = field(default_factory=dict)
    printed: tuple[str, ...] | None = None

    @property
    def place(self) -> str:
        """Where the block stands, for messages."""
        return f"{self.page.name}:{self.line}"

    @property
    def exit_code(self) -> int:
        """The status that it ends with."""
        return int(self.remarks.get("exit", 0))

    @property
    def missing(self) -> str:
        """Why it is not run here; "" where it is."""
        if reason := self.remarks.get("not run"):
            return reason
        needs = filter(None, re.split(r",\s*", self.remarks.get("needs", "")))
        lacking = [n for n in needs if not (shutil.which(n) or importlib.util.find_spec(n))]
        return f"needs {', '.join(lacking)}" if lacking else ""


def blocks_of(page: Path) -> list[Block]:
    """Return the blocks of a page that can be run, in order."""
    text = page.read_text("utf-8")
    fenced = re.compile(
        r"(?:^<!-- (?P<remarks>.*?) -->\n)?^```(?P<language>\w+)\n(?P<code>.*?)^```$"
        r"(?:\n+```text\n(?P<printed>.*?)^```$)?",
        re.MULTILINE | re.DOTALL,
    )
    found = []
    for match in fenced.finditer(text):
        if match["language"] not in RUNNABLE:
            continue
        parts = (part.split(": ", 1) for part in (match["remarks"] or "").split("; ") if part)
        printed = None if match["printed"] is None else tuple(match["printed"].splitlines())
        line = text.count("\n", 0, match.start("language")) + 1
        remarks = dict(part for part in parts if len(part) == 2)
        found.append(Block(page, line, match["language"], match["code"], remarks, printed))
    return found


def links_of(page: Path) -> list[str]:
    """Return the files that a page links to, as it writes them."""
    found = re.findall(r"\]\((?!https?:)([^)#\s]+)", page.read_text("utf-8"))
    return list(dict.fromkeys(found))


def code_of(page: Path) -> list[str]:
    """Return the lines of all fenced blocks of a page."""
    blocks = re.findall(r"^```\w+\n(.*?)^```$", page.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    return [line for block in blocks for line in block.splitlines()]


def not_printed(wanted: Sequence[str], output: str) -> list[str]:
    """Return the lines that a page shows and the output does not have, in this order."""
    lines, missing, place = [" ".join(line.split()) for line in output.splitlines()], [], 0
    for line in wanted:
        if not line.strip(" .─"):
            continue
        fitting = (i for i in range(place, len(lines)) if _is_like(line, lines[i]))
        found = next(fitting, None)
        if found is None:
            missing.append(line)
        else:
            place = found + 1
    return missing


def _is_like(wanted: str, found: str) -> bool:
    """Whether a line of output is the one that a page shows, but for spaces and the last digits."""
    pattern = "".join(
        f"({_NUMBER})"
        if re.fullmatch(_NUMBER, part)
        else ".*?"
        if part == "..."
        else re.sub(r"(\\ )+", r"\\s+", re.escape(part))
        for part in re.split(rf"(\.\.\.|{_NUMBER})", " ".join(wanted.split()))
        if part
    )
    match = re.fullmatch(pattern, found)
    return match is not None and all(
        _is_near(shown, number)
        for shown, number in zip(re.findall(_NUMBER, wanted), match.groups(), strict=True)
    )


def _is_near(shown: str, found: str) -> bool:
    one, other = (float(number.replace(",", "")) for number in (shown, found))
    return abs(one - other) <= _MOST_OFF * max(abs(one), abs(other))
