"""Entries of a cache as files of a folder: written whole or not at all, and of bounded size.

An entry is written under a temporary name and renamed when it is complete, and holds the SHA-256 of its
name and its content: what was cut short, damaged or renamed is found when it is read, and is no entry.
So any number of processes may share a folder, and none waits for another. An entry's time is that of its
last use; beyond the bound those go first that were not used for longest.

diskcache, which has all of this on SQLite, is not used: SQLite's locks do not hold on network file
systems (sqlite.org/faq.html, 5), where caches are shared, and what a row of its table says is unpickled
(CVE-2025-69872): a cache must not be able to run code.
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
import stat
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from onnxzip.disk.temporary import temporary_file
from onnxzip.errors import OutputError, reason_of

_log = logging.getLogger(__name__)

FOLDER = "onnxzip-1"
"""Inside the folder that the user names, which may hold other things; the number is the format's."""

_TAG = "CACHEDIR.TAG"
_TAG_TEXT = (
    "Signature: 8a477f597d28d172789f06886806bc55\n# What onnxzip has worked out; may be removed.\n"
)
"""By which programs that back up leave it out (https://bford.info/cachedir/)."""

_MAGIC = b"onnxzip cache 1 "
_NAME = re.compile("[0-9a-f]{62}")
_LEAST_BYTES = 4096
"""That a file takes on usual file systems, however short it is."""

_LEFT_SHARE = 0.9
"""Of the bound, when entries had to go: else each new one would have the whole folder looked through."""


class Store:
    """Entries by key, a SHA-256 in hexadecimal digits.

    Args:
        folder: is made where it is not there.
        max_bytes: that all entries may take together; while a run writes, others may be beyond it by
            what they write in that time.

    Raises:
        OutputError: nothing can be written there.
    """

    def __init__(self, folder: Path, max_bytes: int) -> None:
        """See the class."""
        self._folder, self._max_bytes = entries_in(folder), max_bytes
        self._n_bytes: int | None = None
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            if not (self._folder / _TAG).exists():
                self._put(self._folder / _TAG, _TAG_TEXT.encode())
        except OSError as error:
            raise OutputError(f"`cache` {folder}: cannot be written; {reason_of(error)}") from error

    def read(self, key: str) -> bytes | None:
        """Return what an entry holds, None where there is no sound one."""
        path = self._place(key)
        try:
            written = _read_bounded(path, self._max_bytes + _LEAST_BYTES)
            with suppress(OSError):  # of others, in a folder that is shared
                os.utime(path)
        except FileNotFoundError:
            return None
        except OSError as error:
            _log.debug("%s: cannot be read, and is made again: %s", path, error)
            return None
        header, _, content = written.partition(b"\n")
        if header != _header(key, content):
            _log.debug("%s: is damaged, and is made again", path)
            return None
        return content

    def write(self, key: str, content: bytes) -> bool:
        """Keep an entry; return False, and keep nothing, where it takes more than all may.

        Raises:
            OSError: it cannot be written; others are as they were.
        """
        n_bytes = max(len(content), _LEAST_BYTES)
        if n_bytes > self._max_bytes:
            return False
        if self._n_bytes is None:
            self._n_bytes = sum(size for _, size, _ in self._entries())
        path = self._place(key)
        path.parent.mkdir(parents=True, exist_ok=True)
        self._put(path, _header(key, content) + b"\n" + content)
        self._n_bytes += n_bytes
        if self._n_bytes > self._max_bytes:
            self.make_room()
        return True

    def make_room(self) -> None:
        """Remove what was not used for longest, where all entries take more than they may."""
        entries = sorted(self._entries())
        total = sum(size for _, size, _ in entries)
        allowed = self._max_bytes if total <= self._max_bytes else _LEFT_SHARE * self._max_bytes
        for _, size, path in entries:
            if total <= allowed:
                break
            with suppress(OSError):  # another process was faster, or has it open
                path.unlink()
            total -= size
        self._n_bytes = total

    def _entries(self) -> Iterator[tuple[int, int, Path]]:
        """Yield the time of the last use of each entry, in ns, the bytes that it takes, and its path."""
        for folder in _listed(self._folder):
            for entry in _listed(Path(folder.path)) if folder.is_dir(follow_symlinks=False) else ():
                if _NAME.fullmatch(entry.name):
                    with suppress(OSError):
                        status = entry.stat(follow_symlinks=False)
                        yield status.st_mtime_ns, max(status.st_size, _LEAST_BYTES), Path(entry.path)

    def _place(self, key: str) -> Path:
        return self._folder / key[:2] / key[2:]

    def _put(self, path: Path, content: bytes) -> None:
        with temporary_file(path.parent) as (file, temporary):
            file.write(content)
            file.close()
            temporary.replace(path)


def entries_in(folder: Path) -> Path:
    """Return the folder in a cache's folder that its entries lie in."""
    return folder / FOLDER


def check_outside(folder: Path, paths: Iterable[str | Path]) -> None:
    """Refuse to write files where a cache's folder is or will be, or among its entries.

    Args:
        folder: of the cache.
        paths: of the files.

    Raises:
        OutputError: it lies there.
    """
    own = Path(os.path.realpath(folder))
    for path in paths:
        place = Path(os.path.realpath(path))
        if place == own or place in own.parents or entries_in(own) in (place, *place.parents):
            raise OutputError(f"{path}: lies where `cache` {folder} keeps entries; name another place")


def _read_bounded(path: Path, max_bytes: int) -> bytes:
    """Return what an entry's file holds.

    Raises:
        OSError: it cannot be read, is larger than any entry is, or no file: opening a pipe would wait.
    """
    with os.fdopen(os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0)), "rb") as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode) or status.st_size > max_bytes:
            raise OSError(f"{path}: no file of an entry's size")
        return file.read()


def _header(key: str, content: bytes) -> bytes:
    found = hashlib.sha256(key.encode())
    found.update(content)
    return _MAGIC + found.hexdigest().encode()


def _listed(folder: Path) -> list[os.DirEntry[str]]:
    """Return what is in a folder; nothing where another process has just removed it."""
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except OSError:
        return []
