"""Where tools are tried on one model, and measured: what all of them are given, and held to."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from onnxzip.comparison.costs import cost_of_loading, latency_ratio
from onnxzip.comparison.judging import Judge
from onnxzip.comparison.tools import Task, Tool, tools
from onnxzip.comparison.trying import best_of, reason_of
from onnxzip.errors import OnnxzipError
from onnxzip.graph import Model
from onnxzip.measure.subject import Subject
from onnxzip.records.progress import ShowProgress, part, show_nothing
from onnxzip.report.comparison.record import ComparedTool
from onnxzip.runtime.apart import Limits, LostProcessError
from onnxzip.runtime.session import n_cores

_TOOL_S, _BYTES_A_S = 600, 500_000
"""Seconds that a tool may take, and bytes of the model that give it a second more: xz -9e packs three
times as many on a core of 2020, and others may have that."""


class Bench:
    """Tries tools on one model, and measures what they make.

    Settings are chosen on what onnxzip itself fits to, or of made-up inputs on what it searches on; what
    is lost is stated on what it is judged by.

    Args:
        source: the model's file.
        original: the model.
        subject: the model on its inputs.
        folder: an existing one, that tools may leave what they make in.
    """

    def __init__(self, source: Path, original: Model, subject: Subject, folder: Path) -> None:
        seconds = _TOOL_S + original.n_bytes // _BYTES_A_S
        files = tuple(path.absolute() for path in original.files)
        self._limits = Limits(cpu_s=seconds * n_cores(), wall_s=seconds)
        self._task = Task(source.absolute(), files, subject.known_feeds, folder)
        self._subject = subject
        chosen_on = subject.searched if subject.is_generated else subject.fitted
        self._choosing = Judge(subject, chosen_on, self._limits)
        self._final = Judge(subject, subject.samples, self._limits)

    def try_all(self, show: ShowProgress = show_nothing) -> Iterator[tuple[ComparedTool, Path | None]]:
        """Yield each tool's line, and the model to run that it made."""
        every = tools().values()
        for i, tool in enumerate(every):
            yield self.best_of(tool, part(show, i / len(every), (i + 1) / len(every)))

    def best_of(self, tool: Tool, show: ShowProgress = show_nothing) -> tuple[ComparedTool, Path | None]:
        """Return a tool's line, and the model to run that it made; see `trying.best_of`."""
        return best_of(tool, self._task, self._choosing.check, self._limits, show)

    def measure_all(
        self, made: Sequence[tuple[ComparedTool, Path | None]], show: ShowProgress
    ) -> Iterator[ComparedTool]:
        """Yield the line of each tool, measured where there is a model of it."""
        for i, (line, model) in enumerate(made):
            show(f"measuring {line.tool}", i / len(made))
            yield line if model is None else self.measured(line, model)

    def measured(self, line: ComparedTool, model: Path) -> ComparedTool:
        """Return the line of a tool with what its model loses and costs, as far as that can be said."""
        limits, custom_ops, plain = self._limits, self._subject.custom_ops, self._task.source
        try:
            line = replace(line, loss=self._final.check(model))
            if not line.is_loaded:
                return line
            line = replace(line, load=cost_of_loading(model, limits, custom_ops))
            if model == plain:
                return replace(line, latency=1.0)
            feeds = next(iter(self._subject.samples[0].feeds))
            return replace(line, latency=latency_ratio(model, plain, feeds, limits, custom_ops))
        except (OnnxzipError, LostProcessError) as error:
            return replace(line, problem=f"failed: {reason_of(error)}")
