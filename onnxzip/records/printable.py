"""Text that others chose - names in files, messages of libraries - as it may be shown to people."""

from __future__ import annotations


def printable(text: str) -> str:
    r"""Return text without what moves a cursor, colours, hides or turns around: "\x1b" for an escape.

    Every character stays that shows itself (str.isprintable); a line stays one.
    """
    return text if text.isprintable() else "".join(c if c.isprintable() else _escaped(c) for c in text)


def _escaped(character: str) -> str:
    return character.encode("unicode_escape", "surrogatepass").decode("ascii")
