"""The kinds of results that are kept, and how their records become entries and back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from onnxzip.disk.cache.entry import Entry, Kind
from onnxzip.records.aliases import Array
from onnxzip.records.layer import Layer, Layout, Statistics
from onnxzip.records.payload import Coefficients, Encoded
from onnxzip.records.plain.bounds import check_least
from onnxzip.records.plain.typed import fields_from_plain, from_plain
from onnxzip.records.plan import Candidate, Skip

Measured: TypeAlias = tuple[Statistics | None, NDArray[np.float32] | None]
"""What a layer meets: second moments, or the weights of its rows."""

Offers: TypeAlias = tuple[list[Candidate], list[Skip]]
"""What passes offer for a layer, without payloads, and what they refuse."""

Fitted: TypeAlias = tuple[Mapping[str, Candidate], Mapping[str, Array]]
"""What a refit makes: candidates with payloads by layer name, and constants by name."""

ABSENT = Layer("", "", np.zeros(0, np.float32), Layout((), (), (), ()))
"""Stands for the layer of a candidate that is kept: who looks it up has that."""


def _pack_measured(measured: Measured) -> Entry:
    statistics, rows = measured
    arrays: dict[str, Array] = {} if rows is None else {"rows": rows}
    if statistics is None:
        return Entry(None, arrays)
    arrays["moment"] = statistics.second_moment
    return Entry([statistics.n_samples, statistics.n_blocks], arrays)


def _unpack_measured(entry: Entry) -> Measured:
    rows = entry.arrays.get("rows")
    if entry.values is None:
        return None, rows
    n_samples, n_blocks = from_plain(tuple[int, int], entry.values)
    moment = entry.arrays["moment"]
    if moment.ndim != 2 or len(moment) != moment.shape[-1]:
        raise ValueError(f"a second moment of shape {moment.shape}")
    return Statistics(moment, n_samples, n_blocks), rows


def _pack_offers(offers: Offers) -> Entry:
    candidates, skips = offers
    refused = [[skip.layer, skip.pass_name, skip.reason] for skip in skips]
    return Entry([[_candidate_values(c) for c in candidates], refused])


def _unpack_offers(entry: Entry) -> Offers:
    candidates, refused = entry.values
    return [_candidate(values) for values in candidates], [
        Skip(*from_plain(tuple[str, str, str], texts)) for texts in refused
    ]


def _candidate_values(candidate: Candidate) -> dict[str, Any]:
    """Return all of a candidate but its layer and its payload."""
    own = {f.name: getattr(candidate, f.name) for f in fields(candidate)}
    return {name: value for name, value in own.items() if name not in ("layer", "encoded")}


def _candidate(values: dict[str, Any], encoded: Encoded | None = None) -> Candidate:
    found = Candidate(layer=ABSENT, encoded=encoded, **fields_from_plain(Candidate, values))
    check_least(found, 0, "n_bytes", "error")
    return found


def _pack_fitted(fitted: Fitted) -> Entry:
    candidates, constants = fitted
    arrays: dict[str, Array] = {}
    values = {}
    for name, candidate in candidates.items():
        assert candidate.encoded is not None
        values[name] = [_candidate_values(candidate), _pack(candidate.encoded, arrays)]
    return Entry([values, _pack(constants, arrays)], arrays)


def _unpack_fitted(entry: Entry) -> Fitted:
    values, constants = entry.values
    candidates = {
        name: _candidate(found, _unpack(encoded, entry.arrays))
        for name, (found, encoded) in values.items()
    }
    return candidates, _unpack(constants, entry.arrays)


_RECORDS = {"encoded": Encoded, "coefficients": Coefficients}
"""What payloads consist of; all of their fields are kept, whatever they are."""


def _pack(value: Any, arrays: dict[str, Array]) -> Any:
    """Return a payload, or a part of one, as plain values; arrays are put beside them by number."""
    if isinstance(value, np.ndarray):
        arrays[str(len(arrays))] = value
        return {"array": str(len(arrays) - 1)}
    if isinstance(value, Mapping):
        return {"mapping": {key: _pack(item, arrays) for key, item in value.items()}}
    for name, record in _RECORDS.items():
        if isinstance(value, record):
            return {name: {f.name: _pack(getattr(value, f.name), arrays) for f in fields(record)}}
    return value


def _unpack(value: Any, arrays: Mapping[str, Array]) -> Any:
    if not isinstance(value, dict):
        return value
    ((kind, found),) = value.items()
    if kind == "array":
        return arrays[found]
    items = {key: _unpack(item, arrays) for key, item in found.items()}
    return items if kind == "mapping" else _RECORDS[kind](**items)


def _unpack_sensitivity(entry: Entry) -> float:
    found = float(from_plain(float, entry.values))
    if not found >= 0:
        raise ValueError(f"a sensitivity of {found}")
    return found


STATISTICS: Kind[Measured] = Kind("statistics of weights", _pack_measured, _unpack_measured)
CANDIDATES: Kind[Offers] = Kind("weights' candidates", _pack_offers, _unpack_offers)
REFITS: Kind[Fitted] = Kind("refits", _pack_fitted, _unpack_fitted, is_small=True)
SENSITIVITIES: Kind[float] = Kind("sensitivities", Entry, _unpack_sensitivity)
REACHED: Kind[list[str]] = Kind(
    "looks for weights that nothing reaches",
    Entry,
    lambda entry: list(from_plain(tuple[str, ...], entry.values)),
)
TRIALS: Kind[tuple[float, float, bool]] = Kind(
    "trials", Entry, lambda entry: from_plain(tuple[float, float, bool], entry.values)
)
