"""What was looked up in a cache instead of being worked out again."""

from __future__ import annotations

from collections.abc import Sequence

from onnxzip.records.recalled import Recalled
from onnxzip.report.tables.table import Table


def recalled_table(recalled: Sequence[Recalled]) -> Table:
    """Return one row per kind of results; none without a cache."""
    rows = tuple((found.kind, f"{found.n_recalled:,}", f"{found.n_wanted:,}") for found in recalled)
    return Table(("results", "looked up", "of"), rows, frozenset({"results"}), "results")
