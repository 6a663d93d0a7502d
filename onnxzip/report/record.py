"""The records that are reported: what was done to a model, and how a file stores its weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from onnxzip.records.aliases import Form, Scalar
from onnxzip.records.check import Check
from onnxzip.records.plan import Rewrite, Skip


@dataclass(frozen=True)
class StoredWeight:
    """How a file stores one weight, as `onnxzip -l` lists it.

    Attributes:
        pass_name: the method; "plain" for a weight that is stored as it is.
        n_bytes: bytes in the file, nodes of the decode subgraph included.
        error: |W - W'| / |W| where the file or the original tells it, else None.
    """

    name: str
    pass_name: str
    shape: tuple[int, ...]
    dtype: str
    bytes_before: int
    n_bytes: int
    error: float | None = None


@dataclass(frozen=True)
class Inspection:
    """What `onnxzip -l` shows of a file.

    Attributes:
        n_bytes: size of the file, external data included.
        bytes_before: size the file has with every weight stored plainly.
    """

    source: str
    n_bytes: int
    bytes_before: int
    weights: tuple[StoredWeight, ...]


@dataclass(frozen=True)
class LayerReport:
    """One line of the report: how a weight is stored.

    `macs_before`/`macs_after` are None when unknown; `error` is Candidate.error.
    """

    name: str
    op_type: str
    shape: tuple[int, ...]
    dtype: str
    pass_name: str
    form: Form
    settings: Mapping[str, Scalar]
    bytes_before: int
    bytes_after: int
    error: float
    macs_before: int | None = None
    macs_after: int | None = None


@dataclass(frozen=True)
class Report:
    """What was done to a model and the proof of it; `onnxzip.report` exports it."""

    schema: int
    source: str
    source_sha256: str
    output_sha256: str
    layers: tuple[LayerReport, ...]
    rewrites: tuple[Rewrite, ...]
    skips: tuple[Skip, ...]
    checks: tuple[Check, ...]
    bytes_before: int
    bytes_after: int
    seconds: float
    settings: Mapping[str, Scalar] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)

    @property
    def ratio(self) -> float:
        """Bytes before divided by bytes after."""
        return self.bytes_before / max(self.bytes_after, 1)
