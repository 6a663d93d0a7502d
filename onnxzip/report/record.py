"""The records that are reported: what was done to a model, and how a file stores its weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from onnxzip.records.aliases import Form, Scalar
from onnxzip.records.check import Check
from onnxzip.records.finding import Finding
from onnxzip.records.plan import Rewrite, Skip


@dataclass(frozen=True)
class StoredWeight:
    """How a file stores one weight, as `onnxzip -l` lists it.

    Attributes:
        pass_name: the method; "plain" for a weight that is stored as it is.
        n_bytes: bytes in the file: its share of the decode subgraph's, nodes included.
        error: |W - W'| / |W| where the file or the original tells it, else None.
        load_bytes: bytes that decode nodes put out for it when a session is created, 0 for a plain one.
    """

    name: str
    pass_name: str
    shape: tuple[int, ...]
    dtype: str
    bytes_before: int
    n_bytes: int
    error: float | None = None
    load_bytes: int = 0


@dataclass(frozen=True)
class Port:
    """An input or output of a graph.

    Attributes:
        dtype: as ONNX calls it, "float32", "int64", "string".
        shape: a number for a fixed size, a symbol or "?" for a free one; None for an unknown rank.
    """

    name: str
    dtype: str
    shape: tuple[int | str, ...] | None


@dataclass(frozen=True)
class Inspection:
    """What `onnxzip -l` shows of a file.

    Attributes:
        inputs: what has to be fed, in the graph's order.
        outputs: what comes back, likewise.
        n_bytes: size of the file, external data included.
        bytes_before: size the file has with every weight stored plainly.
    """

    source: str
    n_bytes: int
    bytes_before: int
    weights: tuple[StoredWeight, ...]
    inputs: tuple[Port, ...] = ()
    outputs: tuple[Port, ...] = ()

    @property
    def load_bytes(self) -> int:
        """Load memory: bytes that all decode nodes put out when a session is created."""
        return sum(weight.load_bytes for weight in self.weights)

    @property
    def rest_before(self) -> int:
        """What is left of `bytes_before` without the weights: the graph and everything else."""
        return self.bytes_before - sum(weight.bytes_before for weight in self.weights)

    @property
    def rest_after(self) -> int:
        """What is left of `n_bytes` without the weights: the graph and everything else."""
        return self.n_bytes - sum(weight.n_bytes for weight in self.weights)

    def _repr_html_(self) -> str:
        """Return what a notebook shows."""
        from onnxzip.report.html import inspection_fragment

        return inspection_fragment(self)


@dataclass(frozen=True)
class LayerReport:
    """One line of the report: how a weight is stored.

    `bytes_after` is its share of the decode subgraph's bytes; `macs_before`/`macs_after` are None when
    unknown; `error` is Candidate.error; `load_bytes` are what decode nodes put out for it when a session
    is created, None in reports of versions that did not count them.
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
    load_bytes: int | None = None


@dataclass(frozen=True)
class LayerSensitivity:
    """What one weight's error does to the outputs, all others being as they were.

    Attributes:
        name: of the weight.
        error: relative error it was measured at (Candidate.error).
        loss: what the worst output then loses, as nrmse.
    """

    name: str
    error: float
    loss: float


@dataclass(frozen=True)
class Report:
    """What was done to a model and the proof of it; `onnxzip.report` exports it.

    The bytes of the layers, of the small tensors that were rounded and of the rest, the graph and
    everything else, sum up to `bytes_before` and `bytes_after`, which are those of the files.
    `load_bytes` are what all decode nodes put out when a session is created, also for small tensors.
    """

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
    small_before: int
    small_after: int
    rest_before: int
    rest_after: int
    seconds: float
    warnings: tuple[Finding, ...] = ()
    sensitivities: tuple[LayerSensitivity, ...] = ()
    settings: Mapping[str, Scalar] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    load_bytes: int | None = None

    @property
    def ratio(self) -> float:
        """Bytes before divided by bytes after."""
        return self.bytes_before / max(self.bytes_after, 1)

    def _repr_html_(self) -> str:
        """Return what a notebook shows."""
        from onnxzip.report.html import report_fragment

        return report_fragment(self)
