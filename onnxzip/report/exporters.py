"""Exporters by the suffix of the report file."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from onnxzip.report.json import to_json
from onnxzip.report.markdown import to_markdown
from onnxzip.report.record import Report

EXPORTERS: Mapping[str, Callable[[Report], str]] = {".json": to_json, ".md": to_markdown}
"""Export by suffix of the report file."""
