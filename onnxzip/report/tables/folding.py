"""Names that are longer than their place, shortened in the middle: their ends tell most."""

from __future__ import annotations

from rich.cells import cell_len, set_cell_size

_ELLIPSIS = "…"


def folded_in_the_middle(text: str, width: int) -> str:
    """Return a text of at most so many columns of the terminal: "encoder.lay…ense.weight"."""
    if cell_len(text) <= width:
        return text
    n_head = (width - 1) // 2
    head, tail = set_cell_size(text, n_head).rstrip(), _last(text, width - 1 - n_head)
    return f"{head}{_ELLIPSIS}{tail}" if width > 1 else _ELLIPSIS


def _last(text: str, width: int) -> str:
    """Return the end of a text, at most so many columns wide."""
    n_taken = width
    while n_taken > 0 and cell_len(text[-n_taken:]) > width:
        n_taken -= 1
    return text[-n_taken:] if n_taken else ""
