"""A report as JSON, and back."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass, replace

import numpy as np

from onnxzip.errors import InputError
from onnxzip.records.check import Check
from onnxzip.records.plain.typed import from_plain
from onnxzip.report.example import Example, Shown
from onnxzip.report.record import Inspection, Report, Reported

SUFFIX = ".json"

SCHEMA = 4
"""Version of the JSON layout; raised whenever a field changes its meaning or goes away."""


def export(report: Reported) -> str:
    """Return the report as JSON, fields in the order of the record; `from_json` reads it back.

    JSON has no infinity and no nan (psnr of equal outputs is infinite): they are the strings "inf",
    "-inf" and "nan".
    """
    return _dumped(jsonable(report))


def from_json(text: str) -> Report:
    """Return the report that `export` wrote.

    Raises:
        InputError: the text is no report, or one of another schema.
    """
    try:
        record = json.loads(text)
        if record["schema"] != SCHEMA:
            raise InputError(_refusal(record["schema"]))
        report: Report = from_plain(Report, record)
        return replace(report, examples=tuple(map(_with_numbers, report.examples)))
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise InputError(
            f"report: not a report that onnxzip wrote ({error}); write one with `report`"
        ) from error


def _refusal(schema: object) -> str:
    """Say what to do with a report of another schema."""
    is_newer = isinstance(schema, int) and schema > SCHEMA
    advice = (
        "upgrade onnxzip to read it"
        if is_newer
        else "what it says means something else now; compress the model again to get a new report"
    )
    return f"report: is of schema {schema!r}, but this onnxzip reads {SCHEMA}; {advice}"


def _with_numbers(example: Example) -> Example:
    """Return an example whose numbers are numbers: nan and infinities were written as texts."""
    inputs, outputs = (tuple(map(_numbers, shown)) for shown in (example.inputs, example.outputs))
    return replace(example, inputs=inputs, outputs=outputs)


def _numbers(shown: Shown) -> Shown:
    if shown.dtype == "string":
        if shown.look in ("scores", "curve"):
            raise ValueError(f"{shown.look} of '{shown.name}': texts have none")
        return shown
    values = (
        [float(v) if isinstance(v, str) else v for v in a] for a in (shown.original, shown.compressed)
    )
    original, compressed = map(tuple, values)
    return replace(shown, original=original, compressed=compressed)


def jsonable(value: object) -> object:
    """Return plain Python values: numpy scalars unwrapped, non-finite floats as strings."""
    if is_dataclass(value):
        return {field.name: jsonable(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Mapping):
        return {key: jsonable(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [jsonable(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def inspection_json(inspection: Inspection) -> str:
    """Return the record that `onnxzip.inspect` returns: its fields, and the sums it has of them.

    `schema` is that of report files. A shape is null where the rank is unknown, and a size in it a text
    where it is free.
    """
    sums = {key: getattr(inspection, key) for key in ("load_bytes", "rest_before", "rest_after")}
    fields = jsonable(inspection)
    assert isinstance(fields, dict)
    return _dumped({"schema": SCHEMA, **fields, **sums})


def checks_json(source: str, checks: Sequence[Check], signature: str | None = None) -> str:
    """Return the checks that `onnxzip.verify` returns, and whether none of them failed.

    Args:
        source: the file.
        checks: what was found.
        signature: what its signature says, None where none was checked.
    """
    passed = not any(check.failed for check in checks)
    found = {"source": source, "passed": passed, "checks": jsonable(tuple(checks))}
    told = {} if signature is None else {"signature": signature}
    return _dumped({"schema": SCHEMA, **found, **told})


def _dumped(value: object) -> str:
    return json.dumps(value, indent=2, allow_nan=False, ensure_ascii=False) + "\n"
