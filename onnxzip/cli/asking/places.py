"""The file names of a command line -> what is read and where it is written, as gzip and cp would."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from onnxzip.errors import InputError, UsageError

_STREAM = "-"
SMALL = ".small.onnx"
"""Ends the name that is given to what is compressed without an OUT."""


@dataclass(frozen=True)
class Stream:
    """A standard stream in the place of a file."""

    name: str

    def __str__(self) -> str:
        """Return what it is called in messages."""
        return self.name


STDIN, STDOUT = Stream("standard input"), Stream("standard output")

Place: TypeAlias = Path | Stream
"""What is read or written."""


@dataclass(frozen=True)
class Places:
    """What is read and where it is written.

    Attributes:
        source: what is read; the first of several.
        output: what is written: a file, stdout, the folder for several; None for nothing.
        several: files and folders that are compressed into the folder; () for one model.
    """

    source: Place
    output: Place | None = None
    several: tuple[Path, ...] = ()


def source_of(text: str) -> Place:
    """Return what a name of the command line names; "-" is stdin."""
    return STDIN if text == _STREAM else Path(text)


def output_of(text: str) -> Place:
    """Return what a name of the command line names; "-" is stdout."""
    return STDOUT if text == _STREAM else Path(text)


def places_of(texts: Sequence[str]) -> Places:
    """Return what a run that compresses reads and writes.

    One name is a model, to be written beside itself, or "-"; two are IN and OUT; a folder, or more than
    one model, go to the folder that is named last.

    Raises:
        UsageError: the names do not go together.
    """
    if not texts:
        raise UsageError("expected IN and OUT, got 0 file names; onnxzip --help shows how to call it")
    if "" in texts:
        raise UsageError("the name of a file is empty; is a variable of the shell not set?")
    *sources, last = texts if len(texts) > 1 else (texts[0], "")
    if len(texts) > 2 or _is_folder(sources[0]) or last.endswith(os.sep):
        return _several(sources, last)
    if not last:
        return _alone(sources[0])
    return Places(source_of(sources[0]), output_of(last))


def small_name(path: Path) -> Path:
    """Return the name beside a model that its compressed form gets: m.onnx -> m.small.onnx.

    Raises:
        UsageError: it has such a name itself.
    """
    if path.name.lower().endswith(SMALL):
        raise UsageError(
            f"{path}: its name says that it is compressed already; to compress it all the same, "
            f"name the output too: onnxzip {path} OUT"
        )
    stem = path.stem if path.suffix.lower() == ".onnx" else path.name
    return path.with_name(stem + SMALL)


def _alone(text: str) -> Places:
    source = source_of(text)
    return Places(source, STDOUT if isinstance(source, Stream) else small_name(source))


def _several(texts: Sequence[str], last: str) -> Places:
    """Return what goes into a folder.

    Raises:
        UsageError: the last name is no folder's, or one of the others is a stream.
        InputError: a folder would go to a file.
    """
    folder, sources = Path(last), tuple(map(Path, texts))
    if not last:
        raise UsageError(f"{texts[0]} is a folder; name one to write to as well: onnxzip DIR OUTDIR")
    if _STREAM in (*texts, last):
        raise UsageError("`-` stands for one model; leave it out where several are compressed")
    is_named_so = folder.suffix.lower() == ".onnx" and not last.endswith(os.sep)
    if len(sources) == 1 and is_named_so:
        raise InputError(
            f"{texts[0]}: is a directory; name the .onnx file in it, or a folder to write all of it to"
        )
    if folder.is_file() or (is_named_so and not folder.is_dir()):
        raise UsageError(
            f"{last} is no folder, and several models go to one; name it last: onnxzip A B OUTDIR"
        )
    return Places(sources[0], folder, sources)


def _is_folder(text: str) -> bool:
    return text != _STREAM and Path(text).is_dir()
