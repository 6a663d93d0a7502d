"""A mapped temporary file without a name, which gets one where something takes nothing but a path."""

from __future__ import annotations

import itertools
import mmap
import os
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from onnxzip.disk.temporary import lasting_folder, remove

_MIN_NAMED_BYTES = 1 << 20
"""Smaller files are not worth an open descriptor each."""

_NUMBERS = itertools.count()


class MappedFile(mmap.mmap):
    """A mapped file, read-only.

    Attributes:
        name: that it has, or may get, in the `lasting_folder`; "" where it gets none.
    """

    name = ""
    _descriptor: int | None = None
    _path: Path | None = None

    @classmethod
    def of(cls, file: BinaryIO) -> MappedFile:
        """Map a whole file that `unnamed_file` has made.

        Raises:
            OSError: it cannot be mapped.
        """
        mapping = cls(file.fileno(), 0, access=mmap.ACCESS_READ)
        if sys.platform == "linux" and len(mapping) >= _MIN_NAMED_BYTES:
            with suppress(OSError):  # too many are open
                mapping._descriptor = os.dup(file.fileno())
                mapping.name = f"{next(_NUMBERS)}.data"
        return mapping

    def settle(self) -> None:
        """Give the file its name; it loses that with the last array that lies in it.

        Raises:
            OSError: it cannot have one here.
        """
        if self._path is not None:
            return
        path = lasting_folder() / self.name
        root = os.open("/", os.O_RDONLY)  # with one, link() follows /proc's link to the file: linkat(2)
        try:
            os.link(f"/proc/self/fd/{self._descriptor}", path, src_dir_fd=root)
        finally:
            os.close(root)
        self._path = path

    def __del__(self) -> None:
        """Forget the file."""
        if self._path is not None:
            remove(self._path)
        if self._descriptor is not None:
            os.close(self._descriptor)


def unnamed_file() -> BinaryIO:
    """Open a new temporary file without a name.

    Raises:
        OSError: there is no place for it.
    """
    if sys.platform == "linux":
        with suppress(OSError):  # the file system has none, or there is no room, as will be said
            flags = os.O_TMPFILE | os.O_RDWR  # not O_EXCL, which tempfile adds: no name ever
            return os.fdopen(os.open(tempfile.gettempdir(), flags, 0o600), "w+b", buffering=0)
    return tempfile.TemporaryFile(buffering=0)
