"""The records that are reported: what was done to a model, and how a file stores its weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from os import PathLike
from typing import Literal, TypeAlias

from onnxzip.records.aliases import Form, Scalar
from onnxzip.records.check import Check
from onnxzip.records.costs.latency import Speed
from onnxzip.records.finding import Finding
from onnxzip.records.plain.bounds import check_finite, check_least
from onnxzip.records.plan import Rewrite, Skip
from onnxzip.records.recalled import Recalled
from onnxzip.report.comparison.record import Comparison
from onnxzip.report.example import Example


@dataclass(frozen=True)
class StoredWeight:
    """How a file stores one weight, as `onnxzip -l` lists it.

    Attributes:
        pass_name: the method; "plain" for a weight that is stored as it is.
        n_bytes: bytes in the file: its share of the decode subgraph's, nodes included.
        error: |W - W'| / |W| where the file or the original tells it, else None.
        load_bytes: bytes that decode nodes put out for it when a session is created, 0 for a plain one.
        used_by: the node that reads it, as its place among those of its type: "Conv 12 of 23"; with the
            input of the node where that reads several weights; "" where none does.
        is_renamed: whether `name` is one that onnxzip made up (from level 6 on).
    """

    name: str
    pass_name: str
    shape: tuple[int, ...]
    dtype: str
    bytes_before: int
    n_bytes: int
    error: float | None = None
    load_bytes: int = 0
    used_by: str = ""
    is_renamed: bool = False

    @property
    def label(self) -> str:
        """What people may recognise it by: its name, where that is the exporter's."""
        return self.used_by if self.is_renamed and self.used_by else self.name


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

    `form` is "stored"; on a test of a file that an older version wrote, "computed" where nodes with
    factors stand for another node. `bytes_after` is its share of the decode subgraph's bytes; `error` is
    Candidate.error, None where a file that is tested does not tell it; `load_bytes` are what decode
    nodes put out for it when a session is created, None in reports of versions that did not count them.
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
    error: float | None
    load_bytes: int | None = None

    def check_figures(self) -> None:
        """Refuse figures that cannot be."""
        check_least(self, 0, "shape", "bytes_before", "bytes_after", "error", "load_bytes")


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

    def check_figures(self) -> None:
        """Refuse figures that cannot be."""
        check_least(self, 0, "error")


Stage: TypeAlias = Literal["planned", "refitted", "sized", "proved"]
"""What of a plan was tried: its weights as their passes store them, the same after weights and biases
were fitted again, the size of its file, or the whole file."""


@dataclass(frozen=True)
class TrialReport:
    """One plan that the search tried.

    Attributes:
        stage: see `Stage`.
        n_bytes: of the file; of what was only planned or refitted, an estimate.
        loss: in the metric's unit, on the samples that the search tries its plans on, for a whole file
            on those of the verdict; None where only the size was tried.
        passed: whether it was within the tolerance, or the size.
        is_chosen: whether this is the file that was made.
    """

    stage: Stage
    n_bytes: int
    loss: float | None
    passed: bool
    is_chosen: bool = False

    def check_figures(self) -> None:
        """Refuse sizes that cannot be."""
        check_least(self, 0, "n_bytes")


@dataclass(frozen=True)
class LoadSeconds:
    """How long a session takes to be created, measured on the CPU: of the original, of the file."""

    before: float
    after: float

    def check_figures(self) -> None:
        """Refuse times that cannot be."""
        check_finite(self, "before", "after")
        check_least(self, 0, "before", "after")


@dataclass(frozen=True)
class Report:
    """What was done to a model, or a test of a file, and the proof of it; `onnxzip.report` exports it.

    The bytes of the layers, of the small tensors that were rounded and of the rest, the graph and
    everything else, sum up to `bytes_before` and `bytes_after`, which are those of the files.
    `load_bytes` are what all decode nodes put out when a session is created, also for small tensors.
    `command` repeats it all: a line for a shell, or a call in Python. `task` says which of both it was:
    of a test `bytes_before` is what the file takes with plain weights. `config` are the options as a
    file for `--config`, "" where all have their defaults. `speed` is how long runs take, None where that
    was not measured. `recalled` is what was looked up in a cache. `peak_memory` are the most bytes that
    the run held, see `max_memory`; None where the system does not tell.
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
    trials: tuple[TrialReport, ...] = ()
    examples: tuple[Example, ...] = ()
    load_seconds: LoadSeconds | None = None
    command: str = ""
    config: str = ""
    task: Literal["compress", "test"] = "compress"
    speed: Speed | None = None
    recalled: tuple[Recalled, ...] = ()
    peak_memory: int | None = None

    def check_figures(self) -> None:
        """Refuse sizes and times that cannot be; the rest is what is left of estimates."""
        sizes = ("bytes_before", "bytes_after", "small_before", "small_after")
        check_least(self, 0, *sizes, "load_bytes", "peak_memory", "seconds")
        check_finite(self, "seconds")

    def write(self, path: str | PathLike[str]) -> None:
        """Write the report to a .html, .md or .json file; one that is there is replaced.

        Raises:
            UsageError: the suffix is none of these.
            OutputError: the file cannot be written; it is as it was.
        """
        from onnxzip.report.writing import write_report

        write_report(self, path)

    @property
    def ratio(self) -> float:
        """Bytes before divided by bytes after."""
        return self.bytes_before / max(self.bytes_after, 1)

    def _repr_html_(self) -> str:
        """Return what a notebook shows."""
        from onnxzip.report.html import report_fragment

        return report_fragment(self)


Reported: TypeAlias = Report | Comparison
"""What a report file may be on."""
