"""Temporary files and folders that a later run can tell from those of a run that is still alive.

Each is locked (flock) as long as its run lives: the kernel lets go of the lock however the run ends, and
it holds across containers and, on NFS, across machines, where a process number would say nothing. Where
there are no such locks (Windows, some network file systems) what a killed run leaves stays.
"""

from __future__ import annotations

import atexit
import functools
import os
import shutil
import stat
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

PREFIX, SUFFIX = ".onnxzip-", ".tmp"
"""Around the random part of every name, which is as short for OUT's longest name as for any other."""


@contextmanager
def temporary_file(folder: Path) -> Iterator[tuple[BinaryIO, Path]]:
    """Make an empty file in a folder; yield it, opened, and its path; remove it in the end.

    What dead runs have left in the folder is removed, too.
    """
    remove_abandoned(folder)
    descriptor, lock, path = _make_file(folder)
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file, path
    finally:
        remove(path)
        if lock is not None:
            os.close(lock)


@contextmanager
def temporary_folder() -> Iterator[Path]:
    """Make a folder where the system keeps such; remove it in the end, and those of dead runs."""
    remove_abandoned(Path(tempfile.gettempdir()))
    path, lock = _make_folder()
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)
        if lock is not None:
            os.close(lock)


def lasting_folder() -> Path:
    """Return a folder where the system keeps such, the same each time; it is removed with this process.

    Raises:
        OSError: there is no place for it.
    """
    return _folder_of(os.getpid())


@functools.cache
def _folder_of(process: int) -> Path:
    """Return the folder of a process: a fork gets one of its own."""
    stack = ExitStack()
    path = stack.enter_context(temporary_folder())

    def close() -> None:
        if os.getpid() == process:
            stack.close()

    atexit.register(close)
    return path


def remove_abandoned(folder: Path) -> None:
    """Remove what runs of ours that are dead have left in a folder; that this fails is no harm."""
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith(PREFIX) and entry.name.endswith(SUFFIX):
                with suppress(OSError):
                    _remove_abandoned(Path(entry.path))


def _remove_abandoned(path: Path) -> None:
    status = path.lstat()
    is_folder = stat.S_ISDIR(status.st_mode)
    if not hasattr(os, "geteuid") or status.st_uid != os.geteuid():
        return
    if not (is_folder or stat.S_ISREG(status.st_mode)):
        return
    descriptor = os.open(path, (os.O_RDONLY if is_folder else os.O_RDWR) | os.O_NOFOLLOW)
    try:
        if not _lock(descriptor):
            return
        if is_folder:
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink()
    finally:
        os.close(descriptor)


def _make_file(folder: Path) -> tuple[int, int | None, Path]:
    """Return a new file's descriptor, one more that holds its lock when that is closed, and its path."""
    while True:
        descriptor, name = tempfile.mkstemp(prefix=PREFIX, suffix=SUFFIX, dir=folder)
        is_locked = _lock(descriptor)
        if os.fstat(descriptor).st_nlink:  # else another run took it for abandoned before it was locked
            return descriptor, os.dup(descriptor) if is_locked else None, Path(name)
        os.close(descriptor)


def _make_folder() -> tuple[Path, int | None]:
    """Return a new folder and the descriptor that holds its lock."""
    while True:
        path = Path(tempfile.mkdtemp(prefix=PREFIX, suffix=SUFFIX))
        if sys.platform == "win32":  # it opens no folders
            return path, None
        with suppress(FileNotFoundError):  # another run took it for abandoned before it was locked
            lock = os.open(path, os.O_RDONLY)
            _lock(lock)
            if path.exists():
                return path, lock
            os.close(lock)


def _lock(descriptor: int) -> bool:
    """Lock a file; return whether that was possible."""
    try:
        import fcntl
    except ImportError:  # on Windows
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def remove(path: Path) -> None:
    """Remove a file that nothing needs; that this fails must not hide what happened before."""
    with suppress(OSError):
        path.unlink(missing_ok=True)
