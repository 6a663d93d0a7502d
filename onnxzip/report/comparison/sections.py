"""What a written report on a comparison says, section by section."""

from __future__ import annotations

from onnxzip.report.comparison.plot import comparison_plot
from onnxzip.report.comparison.record import Comparison
from onnxzip.report.comparison.table import (
    comparison_table,
    doubts,
    explanations,
    remarks,
    setting_table,
)
from onnxzip.report.section import Section


def comparison_title(comparison: Comparison) -> str:
    """Return e.g. "resnet20.onnx: 9 tools compared"."""
    return f"{comparison.source}: {len(comparison.tools)} tools compared"


def comparison_sections(comparison: Comparison) -> list[Section]:
    """Return the sections, what a reader must not miss first."""
    made_with = {
        **comparison.settings,
        **comparison.versions,
        "input SHA-256": comparison.source_sha256,
    }
    odd, told = doubts(comparison), (*remarks(comparison), *explanations(comparison))
    every = (
        Section("Warnings and evidence", points=odd, has_doubts=bool(odd)),
        Section("Tools", comparison_table(comparison), told, plots=comparison_plot(comparison)),
        Section("Settings", setting_table(comparison)),
        Section("Made with", points=tuple(f"{name}: {value}" for name, value in made_with.items())),
        Section("Repeat it", code=comparison.command),
    )
    return [section for section in every if not section.is_empty]
