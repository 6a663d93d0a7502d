"""What one model costs in the hands of several tools."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from onnxzip.records.aliases import Scalar
from onnxzip.records.check import Check
from onnxzip.records.finding import Finding

OWN_NAME = "onnxzip"


@dataclass(frozen=True)
class LoadCost:
    """What creating a session costs, beyond a process that has made an empty one.

    Attributes:
        cpu_s: seconds of CPU time, of all threads.
        n_bytes: by how much the peak of memory grows; None where the system does not tell.
    """

    cpu_s: float
    n_bytes: int | None


@dataclass(frozen=True)
class TriedSetting:
    """What one setting of a tool came to on the inputs that settings are chosen on.

    Attributes:
        setting: in words; "" for a tool without settings.
        n_bytes: what has to be shipped; None where nothing was made.
        loss: in the metric's unit, of the worst inputs; None where that is not known.
        problem: why it is not, in words.
    """

    setting: str
    n_bytes: int | None = None
    loss: float | None = None
    problem: str = ""


@dataclass(frozen=True)
class ComparedTool:
    """A line of a comparison: a tool at the best of its settings, or why there is nothing to say.

    Attributes:
        tool: its name.
        setting: in words.
        n_bytes: what has to be shipped, external data included.
        loss: against the original.
        seconds: wall time of the tool, all settings that were tried together.
        load: what creating a session costs; None for what onnxruntime does not load.
        latency: time of a run divided by that of the plain file; None likewise.
        is_loaded: whether onnxruntime loads what is shipped, without that it is unpacked first.
        problem: why there is nothing to say: "not installed: pip install X", "failed: ...".
        remark: what a reader must know besides.
        tried: all settings.
    """

    tool: str
    setting: str = ""
    n_bytes: int | None = None
    loss: Check | None = None
    seconds: float = 0.0
    load: LoadCost | None = None
    latency: float | None = None
    is_loaded: bool = True
    problem: str = ""
    remark: str = ""
    tried: tuple[TriedSetting, ...] = ()


@dataclass(frozen=True)
class Comparison:
    """One model, and what is left of it by each tool.

    Attributes:
        schema: that of report files.
        bytes_before: of the plain file, external data included.
        metric: what losses are measured in.
        inputs: what they are measured on, in words.
        plain: the file as it is.
        tools: the largest first, those without a file last.
        unproven: why the outputs say nothing.
        warnings: what is odd about the inputs.
        settings: what onnxzip was asked for.
        versions: of the packages that took part, by name.
        seconds: wall time of it all.
        command: a line for a shell that repeats it.
    """

    schema: int
    source: str
    source_sha256: str
    bytes_before: int
    metric: str
    inputs: str
    plain: ComparedTool
    tools: tuple[ComparedTool, ...]
    unproven: tuple[str, ...] = ()
    warnings: tuple[Finding, ...] = ()
    settings: Mapping[str, Scalar] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    seconds: float = 0.0
    command: str = ""

    @property
    def rows(self) -> tuple[ComparedTool, ...]:
        """All lines, the plain file first."""
        return (self.plain, *self.tools)
