"""One `Report` record -> what the terminal shows, Markdown, and JSON and back.

Every export is a pure function of the record; `EXPORTERS` names them by the suffix of a report file.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np
from rich import box, table
from rich.console import Group, RenderableType
from rich.text import Text

from onnxzip.errors import InputError
from onnxzip.tables import (
    Inspection,
    Table,
    check_table,
    format_ratio,
    layer_table,
    methods,
    notes,
    rewrite_table,
    skip_table,
    summary_table,
    verdict_table,
    weight_table,
)
from onnxzip.types import Check, LayerReport, Report, Rewrite, Scalar, Skip

SCHEMA = 1
"""Version of the JSON layout; raised whenever a field changes its meaning or goes away."""


# Terminal


def render_report(report: Report, verbose: bool = False) -> RenderableType:
    """Return what the terminal shows of a report; `verbose` adds weights, rewrites, skips, checks."""
    details = (
        ("Weights", layer_table(report.layers)),
        ("Rewrites", rewrite_table(report.rewrites)),
        ("Refusals", skip_table(report.skips)),
        ("Checks", check_table(report.checks)),
    )
    parts: list[RenderableType] = []
    for title, content in details if verbose else ():
        if content.rows:
            parts += [Text(title, "bold"), _to_rich(content), ""]
    parts += [_to_rich(summary_table(report)), "", render_checks(report.checks, verbose), ""]
    return Group(*parts, Text(f"weights compressed: {methods(report)}"))


def render_checks(checks: Sequence[Check], verbose: bool = False) -> RenderableType:
    """Return the verdict per provider, and the notes a reader must know."""
    known = [Text(note) for note in notes(checks, verbose)]
    return Group(_to_rich(verdict_table(checks)), *known)


def render_inspection(inspection: Inspection) -> RenderableType:
    """Return the listing of a file."""
    return _to_rich(weight_table(inspection))


def _to_rich(content: Table) -> table.Table:
    rich_table = table.Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    for column in content.columns:
        rich_table.add_column(
            column,
            justify="left" if column in content.left else "right",
            no_wrap=column != content.folds,
            overflow="fold",
        )
    for row in content.rows:
        rich_table.add_row(*(Text(cell, _style(cell)) for cell in row))
    return rich_table


def _style(cell: str) -> str:
    return {"passed": "green", "FAILED": "bold red"}.get(cell.partition(":")[0], "")


# Markdown and JSON


def to_markdown(report: Report) -> str:
    """Return the whole report as Markdown."""
    ratio = format_ratio(report.bytes_before, report.bytes_after)
    hashes = {"input SHA-256": report.source_sha256, "output SHA-256": report.output_sha256}
    sections = (
        (f"# {report.source}: {ratio} smaller", _markdown_table(summary_table(report))),
        ("## Verdict", _markdown_table(verdict_table(report.checks))),
        ("", "\n".join(f"- {note}" for note in notes(report.checks, verbose=True))),
        ("## Checks", _markdown_table(check_table(report.checks))),
        ("## Weights", _markdown_table(layer_table(report.layers))),
        ("## Rewrites", _markdown_table(rewrite_table(report.rewrites))),
        ("## Refusals", _markdown_table(skip_table(report.skips))),
        ("## Made with", _markdown_list({**report.settings, **report.versions, **hashes})),
    )
    shown = [part for title, body in sections if body for part in (title, body) if part]
    return "\n\n".join(shown) + "\n"


def _markdown_table(content: Table) -> str:
    if not content.rows:
        return ""
    rules = [":--" if column in content.left else "--:" for column in content.columns]
    lines = [content.columns, rules, *content.rows]
    return "\n".join(
        "| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines
    )


def _markdown_list(values: Mapping[str, Scalar]) -> str:
    return "\n".join(f"- {name}: {value}" for name, value in values.items())


def to_json(report: Report) -> str:
    """Return the report as JSON, fields in the order of the record; `from_json` reads it back.

    JSON has no infinity and no nan (psnr of equal outputs is infinite): they are the strings "inf",
    "-inf" and "nan".
    """
    return json.dumps(_jsonable(report), indent=2, allow_nan=False, ensure_ascii=False) + "\n"


def from_json(text: str) -> Report:
    """Return the report that `to_json` wrote.

    Raises:
        InputError: the text is no report, or one of another schema.
    """
    try:
        record = json.loads(text)
        if record["schema"] != SCHEMA:
            raise InputError(
                f"report: schema {record['schema']!r}, but this onnxzip reads {SCHEMA}; "
                "write the report again with this version"
            )
        record["layers"] = tuple(_read_layer(layer) for layer in record["layers"])
        record["rewrites"] = tuple(Rewrite(**rewrite) for rewrite in record["rewrites"])
        record["skips"] = tuple(Skip(**skip) for skip in record["skips"])
        record["checks"] = tuple(_read_check(check) for check in record["checks"])
        return Report(**{**record, "seconds": float(record["seconds"])})
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise InputError(f"report: not a report that onnxzip wrote ({error})") from error


def _read_check(record: Mapping[str, Any]) -> Check:
    value, limit = float(record["value"]), float(record["limit"])
    interval = record.get("interval")
    if interval is not None:
        low, high = map(float, interval)
        interval = (low, high)
    return Check(**{**record, "value": value, "limit": limit, "interval": interval})


def _read_layer(record: Mapping[str, Any]) -> LayerReport:
    error, shape = float(record["error"]), tuple(record["shape"])
    return LayerReport(**{**record, "error": error, "shape": shape})


def _jsonable(value: object) -> object:
    """Return plain Python values: numpy scalars unwrapped, non-finite floats as strings."""
    if is_dataclass(value):
        return {field.name: _jsonable(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Mapping):
        return {key: _jsonable(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [_jsonable(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


EXPORTERS: Mapping[str, Callable[[Report], str]] = {".json": to_json, ".md": to_markdown}
"""Export by suffix of the report file."""
