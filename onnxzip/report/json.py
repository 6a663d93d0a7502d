"""A report as JSON, and back."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np

from onnxzip.errors import InputError
from onnxzip.records.check import Check, SampleLosses
from onnxzip.records.costs.latency import Latency, Processor, Ratio, Speed
from onnxzip.records.finding import Finding
from onnxzip.records.plan import Rewrite, Skip
from onnxzip.records.recalled import Recalled
from onnxzip.report.example import Example, Shown
from onnxzip.report.record import (
    Inspection,
    LayerReport,
    LayerSensitivity,
    LoadSeconds,
    Report,
    Reported,
    TrialReport,
)

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
        record["layers"] = tuple(_read_layer(layer) for layer in record["layers"])
        record["rewrites"] = tuple(Rewrite(**rewrite) for rewrite in record["rewrites"])
        record["skips"] = tuple(Skip(**skip) for skip in record["skips"])
        record["warnings"] = tuple(Finding(**finding) for finding in record["warnings"])
        record["sensitivities"] = tuple(_read_sensitivity(found) for found in record["sensitivities"])
        record["checks"] = tuple(_read_check(check) for check in record["checks"])
        record["trials"] = tuple(_read_trial(trial) for trial in record.get("trials", ()))
        record["examples"] = tuple(_read_example(example) for example in record.get("examples", ()))
        seconds = record.get("load_seconds")
        record["load_seconds"] = None if seconds is None else LoadSeconds(**seconds)
        speed = record.get("speed")
        record["speed"] = None if speed is None else _read_speed(speed)
        record["recalled"] = tuple(Recalled(**found) for found in record.get("recalled", ()))
        return Report(**{**record, "seconds": float(record["seconds"])})
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


def _read_check(record: Mapping[str, Any]) -> Check:
    floats = {key: float(record[key]) for key in ("value", "limit")}
    constant, interval, per_sample = (record[key] for key in ("constant", "interval", "per_sample"))
    if interval is not None:
        low, high = map(float, interval)
        interval = (low, high)
    if per_sample is not None:
        per_sample = _read_losses(per_sample)
    by = {
        key: {name: float(value) for name, value in record[key].items()}
        for key in ("by_output", "by_family")
    }
    constant = None if constant is None else float(constant)
    found = {**floats, **by, "constant": constant, "interval": interval, "per_sample": per_sample}
    return Check(**{**record, **found})


def _read_sensitivity(record: Mapping[str, Any]) -> LayerSensitivity:
    return LayerSensitivity(record["name"], float(record["error"]), float(record["loss"]))


def _read_losses(record: Mapping[str, Any]) -> SampleLosses:
    median, most, worst = (float(record[key]) for key in ("median", "quantile_95", "worst"))
    ranked = tuple(map(float, record.get("ranked", ())))
    return SampleLosses(median, most, worst, ranked, tuple(record.get("places", ())))


def _read_trial(record: Mapping[str, Any]) -> TrialReport:
    return TrialReport(**{**record, "loss": _number(record["loss"])})


def _read_example(record: Mapping[str, Any]) -> Example:
    shown = {key: tuple(map(_read_shown, record[key])) for key in ("inputs", "outputs")}
    return Example(**{**record, **shown, "loss": _number(record["loss"])})


def _read_shown(record: Mapping[str, Any]) -> Shown:
    lists = {key: tuple(record[key]) for key in ("shape", "indices", "size")}
    values = {key: tuple(record[key]) for key in ("original", "compressed")}
    if record["dtype"] != "string":  # of numbers, nan and infinities were written as texts
        values = {key: tuple(map(_unquoted, found)) for key, found in values.items()}
    return Shown(**{**record, **lists, **values})


def _unquoted(value: Any) -> Any:
    """Return a number or truth value that may have been written as a text."""
    return float(value) if isinstance(value, str) else value


def _read_speed(record: Mapping[str, Any]) -> Speed:
    before, after = (_read_latency(record[key]) for key in ("before", "after"))
    ratio = Ratio(*(float(record["ratio"][key]) for key in ("value", "low", "high")))
    processor = Processor(record["processor"]["name"], tuple(record["processor"]["int8"]))
    found = {"before": before, "after": after, "ratio": ratio, "processor": processor}
    return Speed(**{**record, **found})


def _read_latency(record: Mapping[str, Any]) -> Latency:
    seconds = tuple(map(float, record["seconds"]))
    if len(seconds) < 2:
        raise ValueError(f"times of {len(seconds)} runs")
    return Latency(seconds)


def _number(value: Any) -> float | None:
    return None if value is None else float(value)


def _read_layer(record: Mapping[str, Any]) -> LayerReport:
    error, shape = _number(record["error"]), tuple(record["shape"])
    return LayerReport(**{**record, "error": error, "shape": shape})


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
