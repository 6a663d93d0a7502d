"""Payloads of the latest plan, and the weights that they stand for."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace

from onnxzip.disk.own_copy import make_on_disk
from onnxzip.passbase import Codec, Pass
from onnxzip.records.aliases import Array
from onnxzip.records.plan import Candidate

_MIN_DISK_BYTES = 1 << 26
"""Of weights together that are not worth a file: what sessions take in memory as well
(`graph.writing.loadable`)."""


class Restorer:
    """Encodes chosen candidates again and keeps the payloads of the latest plan.

    A plan differs from the next one that is tried in some layers only, so most payloads are reused.
    """

    def __init__(self, passes: Mapping[str, Pass], codecs: Mapping[str, Codec]) -> None:
        self._passes = passes
        self._codecs = codecs
        self._latest: dict[str, Candidate] = {}

    def encode(self, candidate: Candidate) -> Candidate:
        """Return the candidate with its payload."""
        known = self._latest.get(candidate.layer.name)
        if (
            candidate.encoded is None
            and known is not None
            and known.pass_name == candidate.pass_name
            and known.settings == candidate.settings
        ):
            return known
        encoded = candidate.encoded
        if encoded is None:
            method = self._passes[candidate.pass_name]
            encoded = method.encode(
                candidate.layer, candidate.settings, self._codecs[candidate.layer.name]
            )
        self._latest[candidate.layer.name] = replace(candidate, encoded=encoded)
        return self._latest[candidate.layer.name]

    def n_payload_bytes(self, candidate: Candidate) -> int:
        """Estimate the bytes that the candidate's payload, as it is emitted, takes in the file."""
        encoded = self.encode(candidate).encoded
        assert encoded is not None
        return int(self._codecs[candidate.layer.name].n_bytes(encoded))

    def forget(self) -> None:
        """Drop all payloads."""
        self._latest.clear()

    def restore(self, candidate: Candidate) -> Array:
        """Return the weight the candidate stands for, in the weight's own shape, order and dtype."""
        values = self._passes[candidate.pass_name].restore(self.encode(candidate))
        return candidate.layer.from_canonical(values)

    def restore_all(self, candidates: Collection[Candidate]) -> dict[str, Array]:
        """Return the weights that candidates stand for by name, in a file where they are large."""
        names = [candidate.layer.name for candidate in candidates]
        if sum(candidate.layer.weight.nbytes for candidate in candidates) < _MIN_DISK_BYTES:
            return dict(zip(names, map(self.restore, candidates), strict=True))
        made = make_on_disk(lambda: map(self.restore, candidates))
        return dict(zip(names, made, strict=True))
