"""zstd: the file itself, for a download that the user's side unpacks."""

from __future__ import annotations

from pathlib import Path

from onnxzip.comparison.tools._tool import Setting, Task, Tool


class Zstd(Tool):
    """At the highest setting that takes no more memory to unpack than usual."""

    name = "zstd -19"
    needs = ("zstandard",)
    is_loaded = False

    def make(self, task: Task, setting: Setting) -> Path:
        """Pack each file; see `Tool`."""
        import zstandard

        for path in task.files:
            packer = zstandard.ZstdCompressor(level=19)
            with path.open("rb") as plain, (task.shipped / f"{path.name}.zst").open("wb") as packed:
                packer.copy_stream(plain, packed, size=path.stat().st_size)
        return task.source
