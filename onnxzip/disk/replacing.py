"""Writes a file beside its place and puts it there when it is complete: nobody sees half a file."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from onnxzip.disk.temporary import temporary_file
from onnxzip.errors import OutputError, OutputExistsError

_NO_LINKS = frozenset({errno.EPERM, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EMLINK})
"""What link says on file systems that have no second names for a file (link(2)): FAT, some of FUSE."""

_STREAM_FOLDER = re.compile(r"/dev/fd|/proc/[^/]+(?:/task/[^/]+)?/fd")
"""Where the files lie that processes have open: proc(5), and fd(4) of macOS."""

_MAX_LINKS = 40
"""As many as Linux follows (path_resolution(7))."""


class Replacement:
    """A file that is written beside its place; made by `replacement`.

    Attributes:
        path: its place.
        temporary: where it lies before that.
        file: what to write to.
    """

    def __init__(self, path: Path, temporary: Path, file: BinaryIO) -> None:
        self.path = path
        self.temporary = temporary
        self.file = file
        self._status = os.fstat(file.fileno())

    @property
    def is_in_place(self) -> bool:
        """Whether the file at the place is this one."""
        return self.path.exists() and os.path.samestat(self.path.stat(), self._status)

    def check_there(self) -> None:
        """Raise OutputError if the file is not where it was made, and not in its place either."""
        places = (path for path in (self.temporary, self.path) if path.exists())
        if not any(os.path.samestat(path.stat(), self._status) for path in places):
            raise _folder_gone(self.path)

    def complete(self) -> None:
        """Get all that was written to the disk, with the permissions of the file that is replaced.

        Raises:
            OutputError: the folder was removed, or replaced by another.
            OSError: the disk does not take it.
        """
        self.file.flush()
        os.fsync(self.file.fileno())
        self.file.close()
        self.check_there()
        mode = self.path.stat().st_mode & 0o777 if self.path.exists() else 0o666 & ~_umask()
        self.temporary.chmod(mode)

    def put_in_place(self, overwrite: bool = True) -> None:
        """Give the complete file its name.

        Raises:
            OutputError: another program made a file of that name, and `overwrite` does not allow to
                replace it; what lies there is no file; or the folder is another now.
            OSError: the file cannot be renamed; what was there is as it was.
        """
        check_replaceable(self.path)
        self.check_there()
        if overwrite:
            self.temporary.replace(self.path)
        else:
            try:
                _give_new_name(self.temporary, self.path)
            except FileExistsError as error:
                raise OutputExistsError(
                    f"{self.path}: another program made it meanwhile; use `overwrite` to replace it"
                ) from error
        _sync_folder(self.path.parent)


@contextmanager
def replacement(path: Path) -> Iterator[Replacement]:
    """Open a temporary file beside `path`; it is removed in the end unless it was put in its place.

    Raises:
        OutputError: what lies at the path is no file, or its folder is gone.
        OSError: the temporary file cannot be made.
    """
    check_replaceable(path)
    if not path.parent.is_dir():
        raise _folder_gone(path)
    with temporary_file(path.parent) as (file, temporary):
        yield Replacement(path, temporary, file)


def write_beside(stack: ExitStack, path: Path, content: bytes) -> Replacement:
    """Write all of a file beside its place, and return what puts it there.

    Args:
        stack: removes the file at its end unless it was put in its place.
        path: the place; links are followed.
        content: what it holds.

    Raises:
        OutputError: what lies at the path is no file, or its folder is gone.
        OSError: the file cannot be written.
    """
    new = stack.enter_context(replacement(real_place(path)))
    new.file.write(content)
    new.complete()
    return new


def _folder_gone(path: Path) -> OutputError:
    return OutputError(
        f"{path}: another program removed or moved its folder; start again when it is back"
    )


def check_replaceable(path: Path) -> None:
    """Raise OutputError if there is something at a path that is no file of its own."""
    if _is_stream(path):
        raise OutputError(f"{path}: is a stream, and no place for a file; name another output")
    if path.is_dir():
        raise OutputError(f"{path}: is a directory; name the file to write")
    if path.exists() and not path.is_file():
        raise OutputError(f"{path}: is not a regular file (a device or pipe); name another output")


def _is_stream(path: Path) -> bool:
    """Whether a path leads to an open file of a process, as /dev/stdout does.

    It would be the file that the stream was sent to that is replaced, or none, and not the stream.
    """
    for _ in range(_MAX_LINKS):
        if _STREAM_FOLDER.fullmatch(os.path.realpath(path.parent)):
            return True
        if not path.is_symlink():
            return False
        path = path.parent / path.readlink()
    return False


def is_same_file(left: Path, right: Path) -> bool:
    """Whether two paths name one file, by whatever links, or would if there was one."""
    if left.exists() and right.exists():
        return left.samefile(right)
    return os.path.realpath(left) == os.path.realpath(right)


def real_place(path: Path) -> Path:
    """Return where a file at a path would lie: links are followed, also to what does not exist yet.

    Raises:
        OutputError: the links go in a circle.
    """
    found = Path(os.path.realpath(path))
    if found.is_symlink():
        raise OutputError(f"{path}: is a link that leads back to itself; name another output")
    return found if path.is_symlink() else path


def _give_new_name(temporary: Path, path: Path) -> None:
    """Rename a file, unless there is one of the new name, also when that is made this very moment."""
    try:
        path.hardlink_to(temporary)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
        try:
            temporary.replace(path)
        except BaseException:
            path.unlink()
            raise


def _sync_folder(folder: Path) -> None:
    """Let a rename survive a power cut, where the platform can; the new file is in its place anyway.

    Windows opens no folders, and some network file systems sync none.
    """
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
