"""Runs a tool, each setting in a process of its own, and keeps the best of what comes out."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path

from onnxzip.comparison.tools import Setting, Task, Tool
from onnxzip.errors import OnnxzipError, one_line
from onnxzip.records.check import Check
from onnxzip.records.progress import ShowProgress, show_nothing
from onnxzip.report.comparison.record import ComparedTool, TriedSetting
from onnxzip.runtime.apart import Limits, LostProcessError, run_apart
from onnxzip.runtime.finding import finding_of

_LEFT = 0.8
"""Of a tool's work as it is shown, after each setting."""

JudgeModel = Callable[[Path], Check]
"""Says what a model loses; see `Judge.check`."""


@dataclass(frozen=True, eq=False)
class Made:
    """What a tool made with one setting.

    Attributes:
        tried: the setting, and what it came to.
        check: what is lost by it.
        model: what is run.
        folder: where it lies.
    """

    tried: TriedSetting
    check: Check
    model: Path
    folder: Path

    @property
    def rank(self) -> tuple[bool, float]:
        """What orders outcomes: those within the limit by size, then the others by loss."""
        if not self.check.failed:
            return False, self.tried.n_bytes or 0
        return True, -self.check.value if self.check.higher_is_better else self.check.value


def best_of(
    tool: Tool,
    task: Task,
    judge: JudgeModel,
    limits: Limits,
    show: ShowProgress = show_nothing,
) -> tuple[ComparedTool, Path | None]:
    """Try the settings of a tool, as long as there is time; a failure ends nothing but its own process.

    Args:
        tool: what to run.
        task: what it is given; each setting has a folder of its own in that of the task.
        judge: says what a model loses.
        limits: what each setting may use, and after what time no further one begins.
        show: told of each setting; how many there will be is not known.

    Returns:
        The tool's line, without a loss on the inputs that count, and the model to run: of the smallest
        file within the limit, or the one that loses least; None where there is none.
    """
    line = ComparedTool(tool.name, remark=tool.remark, is_loaded=tool.is_loaded)
    started = time.perf_counter()
    if tool.missing:
        return replace(line, problem=f"not installed: pip install {' '.join(tool.missing)}"), None
    tried: list[TriedSetting] = []
    best: Made | None = None
    for outcome in _outcomes(tool, task, judge, limits, show):
        if isinstance(outcome, TriedSetting):
            tried.append(outcome)
            continue
        tried.append(outcome.tried)
        best, other = (outcome, best) if best is None or outcome.rank < best.rank else (best, outcome)
        if other is not None:
            shutil.rmtree(other.folder, ignore_errors=True)
    line = replace(line, tried=tuple(tried), seconds=time.perf_counter() - started)
    if best is None:
        return replace(line, problem=f"failed: {tried[0].problem}"), None
    return replace(line, setting=best.tried.setting, n_bytes=best.tried.n_bytes), best.model


def _outcomes(
    tool: Tool, task: Task, judge: JudgeModel, limits: Limits, show: ShowProgress
) -> Iterator[Made | TriedSetting]:
    """Yield what each setting comes to, in the order in which the tool asks for them."""
    asked, begun = tool.settings(), time.perf_counter()
    setting = next(asked, None)
    for n_done in count():
        if setting is None:
            return
        show(f"trying {tool.name} {tool.describe(setting)}".rstrip(), 1 - _LEFT**n_done)
        outcome = _outcome(tool, task, setting, judge, limits)
        yield outcome
        if time.perf_counter() - begun > limits.patience_s:
            return
        try:
            setting = asked.send(isinstance(outcome, Made) and not outcome.check.failed)
        except StopIteration:
            return


def _outcome(
    tool: Tool, task: Task, setting: Setting, judge: JudgeModel, limits: Limits
) -> Made | TriedSetting:
    """Run a tool with one setting, and judge what comes of it."""
    words, folder = tool.describe(setting), Path(tempfile.mkdtemp(dir=task.folder))
    own = replace(task, folder=folder)
    for place in (own.shipped, own.work):
        place.mkdir()
    try:
        model = run_apart(limits, _make, tool, own, setting)
        n_bytes = sum(path.stat().st_size for path in own.shipped.rglob("*") if path.is_file())
        check = judge(model)
    except (_ToolError, OnnxzipError, LostProcessError) as error:
        shutil.rmtree(folder, ignore_errors=True)
        return TriedSetting(words, problem=reason_of(error))
    return Made(TriedSetting(words, n_bytes, check.value), check, model, folder)


def reason_of(error: Exception) -> str:
    """Return why something failed, in a line: the next step that an error names is not ours to take."""
    return one_line(error.finding if isinstance(error, OnnxzipError) else str(error))


class _ToolError(Exception):
    """The tool raised something, whose class is not known here."""


def _make(tool: Tool, task: Task, setting: Setting) -> Path:
    """Run a tool: a task for a process of its own. What it leaves behind goes with our own folder."""
    os.chdir(task.work)
    tempfile.tempdir = str(task.work)
    try:
        return tool.make(task, setting)
    except (Exception, SystemExit) as error:
        raise _ToolError(f"{type(error).__name__}: {finding_of(error)}") from error
