"""What is odd about what a verdict rests on."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    """A warning: what was found, and the likely mend.

    Attributes:
        kind: in a word or two, the same for all findings of one kind: "copies", "constant".
        text: one line.
    """

    kind: str
    text: str
