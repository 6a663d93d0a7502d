"""The page: pieces of Markdown, the section of a file that they replace, and an HTML file of them."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from pathlib import Path
from string import Template

from markdown_it import MarkdownIt  # comes with rich

BEGIN = "<!-- from here on written by `python -m models.clothing` -->"
END = "<!-- up to here -->"
_TYPES = {".png": "image/png", ".svg": "image/svg+xml"}

_HTML = Template("""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>$title</title>
<style>
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 64rem; margin: 0 auto; padding: 1rem; }
img { max-width: 100%; background: #fff; border-radius: 4px; }
table { border-collapse: collapse; display: block; overflow-x: auto; }
th, td { padding: .25rem .6rem; border-bottom: 1px solid #8886; text-align: right; }
th:first-child, td:first-child { text-align: left; }
</style>
</head>
<body>
<h1>$title</h1>
$body</body>
</html>
""")


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table."""
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (head, ["---"] * len(head), *rows))


def figure(path: Path, text: str) -> str:
    """Return a picture that lies in a folder beside the page; text says what it shows."""
    return f"![{text}]({path.parent.name}/{path.name})"


def html(title: str, section: str, folder: Path) -> str:
    """Return a section as an HTML file that needs no other.

    Args:
        title: of the page.
        section: Markdown.
        folder: where links to figures start.
    """
    parser = MarkdownIt("commonmark").enable("table")
    tokens = parser.parse(section)
    for image in (child for token in tokens for child in token.children or () if child.type == "image"):
        path = folder / str(image.attrs["src"])
        data = base64.b64encode(path.read_bytes()).decode("ascii")
        image.attrs["src"] = f"data:{_TYPES[path.suffix]};base64,{data}"
    return _HTML.substitute(title=title, body=parser.renderer.render(tokens, parser.options, {}))


def replace_section(page: str, section: str) -> str:
    """Return a page with what stands between BEGIN and END replaced.

    Raises:
        ValueError: the page lacks one of them.
    """
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"the page needs the lines {BEGIN} and {END}")
    return f"{before}{BEGIN}\n\n{section}\n\n{END}{after}"
