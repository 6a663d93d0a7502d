"""The kinds of results that are kept, and how their records become entries and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from onnxzip.disk.cache.entry import Entry, Kind
from onnxzip.records.aliases import Array
from onnxzip.records.layer import Layer, Layout, Statistics
from onnxzip.records.payload import Coefficients, Encoded
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
    n_samples, n_blocks = entry.values
    return Statistics(entry.arrays["moment"], n_samples, n_blocks), rows


def _pack_offers(offers: Offers) -> Entry:
    candidates, skips = offers
    refused = [[skip.layer, skip.pass_name, skip.reason] for skip in skips]
    return Entry([[_candidate_values(c) for c in candidates], refused])


def _unpack_offers(entry: Entry) -> Offers:
    candidates, refused = entry.values
    return [_candidate(values) for values in candidates], [Skip(*texts) for texts in refused]


def _candidate_values(candidate: Candidate) -> list[Any]:
    found = candidate.pass_name, dict(candidate.settings), candidate.n_bytes, candidate.error
    return [*found, candidate.is_estimate]


def _candidate(values: list[Any], encoded: Encoded | None = None) -> Candidate:
    pass_name, settings, n_bytes, error, is_estimate = values
    return Candidate(ABSENT, pass_name, settings, n_bytes, error, encoded, is_estimate)


def _pack_fitted(fitted: Fitted) -> Entry:
    candidates, constants = fitted
    arrays = {f"constant {name}": array for name, array in constants.items()}
    values = {}
    for name, candidate in candidates.items():
        assert candidate.encoded is not None
        encoded, own = _pack_encoded(candidate.encoded)
        values[name] = [_candidate_values(candidate), encoded]
        arrays.update({f"of {name} {key}": array for key, array in own.items()})
    return Entry([values, list(constants)], arrays)


def _unpack_fitted(entry: Entry) -> Fitted:
    values, constants = entry.values
    candidates = {
        name: _candidate(found, _unpack_encoded(encoded, entry.arrays, f"of {name} "))
        for name, (found, encoded) in values.items()
    }
    return candidates, {name: entry.arrays[f"constant {name}"] for name in constants}


def _pack_encoded(encoded: Encoded) -> tuple[Any, dict[str, Array]]:
    """Return what a payload consists of, and its arrays."""
    arrays: dict[str, Array] = {}
    for name, found in encoded.coefficients.items():
        arrays |= {f"i {name}": found.integers, f"s {name}": found.steps}
        arrays |= {} if found.outer is None else {f"o {name}": found.outer}
    arrays |= {f"n {name}": array for name, array in encoded.integers.items()}
    arrays |= {f"t {name}": array for name, array in encoded.tables.items()}
    fixed = {name: found.is_fixed_rate for name, found in encoded.coefficients.items()}
    return [fixed, list(encoded.integers), list(encoded.tables)], arrays


def _unpack_encoded(values: Any, arrays: Mapping[str, Array], before: str) -> Encoded:
    fixed, integers, tables = values
    return Encoded(
        {
            name: Coefficients(
                arrays[f"{before}i {name}"],
                arrays[f"{before}s {name}"],
                is_fixed,
                arrays.get(f"{before}o {name}"),
            )
            for name, is_fixed in fixed.items()
        },
        {name: arrays[f"{before}n {name}"] for name in integers},
        {name: arrays[f"{before}t {name}"] for name in tables},
    )


STATISTICS: Kind[Measured] = Kind("statistics of weights", _pack_measured, _unpack_measured)
CANDIDATES: Kind[Offers] = Kind("weights' candidates", _pack_offers, _unpack_offers)
REFITS: Kind[Fitted] = Kind("refits", _pack_fitted, _unpack_fitted, is_small=True)
SENSITIVITIES: Kind[float] = Kind("sensitivities", Entry, lambda entry: float(entry.values))
REACHED: Kind[list[str]] = Kind(
    "looks for weights that nothing reaches", Entry, lambda entry: list(map(str, entry.values))
)
TRIALS: Kind[tuple[float, float, bool]] = Kind(
    "trials",
    Entry,
    lambda entry: (float(entry.values[0]), float(entry.values[1]), bool(entry.values[2])),
)
