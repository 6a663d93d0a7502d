"""How much of a run was looked up in a cache."""

from __future__ import annotations

from dataclasses import dataclass

from onnxzip.records.plain.bounds import check_least


@dataclass(frozen=True)
class Recalled:
    """Results of one kind.

    Attributes:
        kind: what they are, in the plural.
        n_recalled: how many were looked up.
        n_wanted: how many were asked for.
    """

    kind: str
    n_recalled: int
    n_wanted: int

    def check_figures(self) -> None:
        """Refuse counts that cannot be."""
        check_least(self, 0, "n_recalled")
        check_least(self, self.n_recalled, "n_wanted")
