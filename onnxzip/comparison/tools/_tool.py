"""What another tool is: what it needs, the settings to try, and how it is called."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Generator, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import ClassVar, TypeAlias

from onnxzip.inputs.feedset import FeedSet
from onnxzip.records.aliases import Scalar

Setting: TypeAlias = Mapping[str, Scalar]
"""Arguments of the tool's own interface, by name; {} where there is nothing to choose."""


@dataclass(frozen=True, eq=False)
class Task:
    """What a tool is given.

    Attributes:
        source: the model, an absolute path.
        files: all files that it consists of, `source` among them.
        feeds: inputs to calibrate with.
        folder: what is made lies in it.
    """

    source: Path
    files: tuple[Path, ...]
    feeds: FeedSet
    folder: Path

    @property
    def shipped(self) -> Path:
        """The folder for what is shipped, and for nothing else."""
        return self.folder / "shipped"

    @property
    def work(self) -> Path:
        """The folder for everything else."""
        return self.folder / "work"


class Tool(ABC):
    """A tool; a subclass has no fields, for it travels to the process that it runs in.

    Attributes:
        name: what it is called in tables, without what it is for.
        needs: packages that onnxzip does not need itself, as pip calls them.
        remark: what a reader must know about its row.
        is_loaded: whether onnxruntime loads what it ships.
    """

    name: ClassVar[str]
    needs: ClassVar[tuple[str, ...]] = ()
    remark: ClassVar[str] = ""
    is_loaded: ClassVar[bool] = True

    @property
    def missing(self) -> list[str]:
        """Those of `needs` that are not installed; their modules are called like them."""
        return [name for name in self.needs if find_spec(name.replace("-", "_")) is None]

    def settings(self) -> Generator[Setting, bool, None]:
        """Yield the settings to try, and take back of each whether the loss was within the limit."""
        yield {}

    def describe(self, setting: Setting) -> str:
        """Return a setting in words."""
        return described(setting)

    @abstractmethod
    def make(self, task: Task, setting: Setting) -> Path:
        """Leave what is shipped in `task.shipped`.

        Returns:
            The model to run: of a tool that onnxruntime does not load what it is unpacked to.

        Raises:
            Exception: whatever the tool raises.
        """


def described(setting: Setting) -> str:
    """Return e.g. "per_channel, min_elements 64": what is on by name, what is off not at all."""
    parts = (
        name if value is True else f"{name} {value}"
        for name, value in setting.items()
        if value is not False
    )
    return ", ".join(parts)
