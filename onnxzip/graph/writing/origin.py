"""What a compressed file was made from, and what was not proven about it: two fields of the mark.

`o` is a checksum of the original's weights, by which another model is told from it whatever its file is
called; `u` the reasons why the verdict on the file was "not proven".
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from onnxzip.disk.own_copy import release_pages
from onnxzip.graph.reading.model import Model
from onnxzip.records.aliases import Array

_MAX_REASONS, _MAX_CHARACTERS = 8, 240
"""Reasons, and characters of each, that a file carries: they are read by people."""

_CUT = " ..."


@dataclass(frozen=True)
class Origin:
    """What a compressed file tells of how it was made.

    Attributes:
        checksum: of the original's weights (`weights_checksum`); None where it has none, or an old file.
        unproven: why the verdict on the file proves nothing about some outputs or weights.
    """

    checksum: int | None = None
    unproven: tuple[str, ...] = ()


UNKNOWN_ORIGIN = Origin()
"""What older files tell."""


def weights_checksum(model: Model) -> int | None:
    """Return a checksum of a model's large initializers, of their names and order regardless.

    So it stays when a model is saved with external data or is renamed.

    Returns:
        The CRC-32 of their sorted CRC-32s; None where there are none.
    """
    if not model.arrays:
        return None
    parts = sorted(map(_checksum, model.arrays.values()))
    release_pages(model.arrays.values())
    return zlib.crc32(np.asarray(parts, "<u4").tobytes())


def origin_fields(origin: Origin) -> dict[str, int | list[str]]:
    """Return the fields of a mark, those that say anything."""
    fields: dict[str, int | list[str]] = {}
    if origin.checksum is not None:
        fields["o"] = origin.checksum
    if origin.unproven:
        fields["u"] = _shortened(origin.unproven)
    return fields


def parse_origin(record: Mapping[str, object]) -> Origin:
    """Return what a mark says.

    Raises:
        ValueError: its fields are none that are written.
    """
    checksum, unproven = record.get("o"), record.get("u", [])
    is_checksum = isinstance(checksum, int) and not isinstance(checksum, bool)
    if checksum is not None and not (is_checksum and 0 <= checksum < 2**32):  # type: ignore[operator]
        raise ValueError("no checksum")
    if not isinstance(unproven, list) or len(unproven) > _MAX_REASONS:
        raise ValueError("no list of reasons")
    if not all(isinstance(r, str) and r.isprintable() and len(r) <= _MAX_CHARACTERS for r in unproven):
        raise ValueError("no reason")
    return Origin(checksum, tuple(unproven))  # type: ignore[arg-type]


def _checksum(array: Array) -> int:
    # Elements of types that numpy lacks have no buffer of their own.
    return zlib.crc32(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)


def _shortened(reasons: Sequence[str]) -> list[str]:
    shown = ["".join(c if c.isprintable() else "?" for c in reason) for reason in reasons]
    if len(shown) > _MAX_REASONS:
        n_more = len(shown) - _MAX_REASONS + 1
        shown = [*shown[: _MAX_REASONS - 1], f"{n_more} reasons more"]
    most = _MAX_CHARACTERS - len(_CUT)
    return [text if len(text) <= _MAX_CHARACTERS else text[:most] + _CUT for text in shown]
