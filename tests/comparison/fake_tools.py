"""Tools that behave well, badly and not at all; a process of their own imports them by name."""

from __future__ import annotations

import ctypes
import os
import shutil
import time
from collections.abc import Generator
from pathlib import Path

from onnxzip.comparison.tools import Setting, Task, Tool


class Copies(Tool):
    """Ships the file as it is, and leaves something behind."""

    name = "copies"

    def make(self, task: Task, setting: Setting) -> Path:
        Path("left-behind").write_text("in the working folder")
        os.write(1, b"noise")
        return Path(shutil.copy(task.source, task.shipped / "model.onnx"))


class Steps(Copies):
    """Pads the file by steps, and is told which of them are good enough."""

    name = "steps"

    def settings(self) -> Generator[Setting, bool, None]:
        for padding in (300, 200, 100):
            if (yield {"padding": padding}):
                return

    def make(self, task: Task, setting: Setting) -> Path:
        (task.shipped / "more").write_bytes(bytes(int(setting["padding"])))
        return super().make(task, setting)


class Fails(Tool):
    name = "fails"

    def make(self, task: Task, setting: Setting) -> Path:
        raise ValueError("no\nsuch layer")


class Leaves(Tool):
    name = "leaves"

    def make(self, task: Task, setting: Setting) -> Path:
        raise SystemExit("cannot read it")


class Crashes(Tool):
    name = "crashes"

    def make(self, task: Task, setting: Setting) -> Path:
        return Path(str(ctypes.string_at(0)))


class Hangs(Tool):
    name = "hangs"

    def make(self, task: Task, setting: Setting) -> Path:
        time.sleep(99)
        return task.source


class Ruins(Tool):
    """Ships what onnxruntime does not load."""

    name = "ruins"

    def make(self, task: Task, setting: Setting) -> Path:
        path = task.shipped / "model.onnx"
        path.write_bytes(b"no model")
        return path


class Missing(Tool):
    name = "missing"
    needs = ("no-such-package",)

    def make(self, task: Task, setting: Setting) -> Path:
        raise AssertionError("is not called")


class Packs(Tool):
    """Ships what has to be unpacked."""

    name = "packs"
    is_loaded = False

    def make(self, task: Task, setting: Setting) -> Path:
        (task.shipped / "packed").write_bytes(b"1234")
        return task.source
