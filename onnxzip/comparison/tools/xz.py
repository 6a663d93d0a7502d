"""xz: the file itself, for a download that the user's side unpacks."""

from __future__ import annotations

import lzma
import shutil
from pathlib import Path

from onnxzip.comparison.tools._tool import Setting, Task, Tool

_PRESET = 9 | lzma.PRESET_EXTREME


class Xz(Tool):
    """At its highest setting."""

    name = "xz -9e"
    is_loaded = False

    def make(self, task: Task, setting: Setting) -> Path:
        """Pack each file; see `Tool`."""
        for path in task.files:
            target = task.shipped / f"{path.name}.xz"
            with path.open("rb") as plain, lzma.open(target, "wb", preset=_PRESET) as packed:
                shutil.copyfileobj(plain, packed)
        return task.source
