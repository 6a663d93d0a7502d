"""Reads the text of a mark, which anybody may have written: known fields of known types only.

`mark` says what the fields mean.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass

from onnxzip.errors import ModelError
from onnxzip.graph.writing.origin import Origin, parse_origin

FORMAT_VERSION = 2
"""Counts the changes of the record that `mark` describes."""

_MAX_CHARACTERS = 1 << 24
"""Of a mark: 64 bytes for each of 250,000 weights; beyond that reading alone takes long."""

_MAX_DIGITS = 18
"""Of a whole number: what fits int64."""

_MAX_NUMBER_CHARACTERS = 32
"""Of a number with a point: more than the 24 that Python ever writes."""

_MAX_COUNT = 1 << 31
"""Nodes, weights: protobuf holds fewer."""

_METHOD_NAME = re.compile(r"\w{0,64}", re.ASCII)
"""A pass is called like its file; "" where none is named."""

_FORMS = ("s", "c", "stored", "computed")
_FIELDS = frozenset({"v", "n", "c", "p", "w", "r", "m", "o", "u"})


@dataclass(frozen=True)
class RoundedValues:
    """The small tensors that are decoded behind all other values.

    Attributes:
        n_values: how many there are.
        n_bits: bits of each of their numbers, 8 or 16.
    """

    n_values: int = 0
    n_bits: int = 0


@dataclass(frozen=True)
class Judgement:
    """What a file was judged by when it was written.

    Attributes:
        metric: name of the metric; "" for a user's own function.
        limit: largest loss allowed (psnr: least dB); None where there was no limit.
        on_data: whether it was fitted to the user's data, and judged on them.
    """

    metric: str
    limit: float | None
    on_data: bool


@dataclass(frozen=True)
class MarkText:
    """A mark as it is read.

    Attributes:
        n_nodes: how many of the first nodes decode.
        checksum: of what they read; None in files that have none.
        entries: (pass name, form, bytes, error) of each weight that is no rounded one.
        rounded: the others.
        judged: what the file was judged by, None for the defaults.
        made_from: what it was made from.
    """

    n_nodes: int
    checksum: int | None
    entries: tuple[tuple[str, str, int, float], ...]
    rounded: RoundedValues
    judged: Judgement | None
    made_from: Origin


def parse_mark(text: str, source: str) -> MarkText:
    """Read a mark.

    Args:
        text: the metadata entry.
        source: the file's name, for messages.

    Raises:
        ModelError: it is newer than this onnxzip, or no mark of ours.
    """
    try:
        record = _fields(text)
        version = _count(record["v"])
        if version > FORMAT_VERSION:
            raise ModelError(f"{source}: format {version} is newer than this onnxzip; upgrade it")
        mark = _parse(record, version)
    # RecursionError: of a hundred thousand brackets.
    except (ValueError, LookupError, TypeError, RecursionError) as error:
        raise ModelError(
            f"{source}: the mark of onnxzip is damaged ({text[:60]}); fetch the file again"
        ) from error
    if mark.n_nodes < 1 or not (mark.entries or mark.rounded.n_values):
        raise ModelError(f"{source}: the mark of onnxzip decodes nothing; fetch the file again")
    return mark


def _fields(text: str) -> dict[str, object]:
    if len(text) > _MAX_CHARACTERS:
        raise ValueError("a mark of so many characters")
    record = json.loads(text, parse_int=_whole, parse_float=_broken)
    if not isinstance(record, dict):
        raise TypeError("a mark is a record")
    if "v" in record and record["v"] in (1, FORMAT_VERSION) and not record.keys() <= _FIELDS:
        raise ValueError("a field that no mark has")
    return record


def _parse(record: dict[str, object], version: int) -> MarkText:
    checksum = _count(record["c"], 2**32) if "c" in record else None
    entries = tuple(_entry(*row) for row in _rows(record, version))
    n_values, n_bits = map(_count, _list(record["r"])) if "r" in record else (0, 0)
    if n_values and n_bits not in (8, 16):
        raise ValueError("no number of bits")
    judged = _judgement(*_list(record["m"])) if "m" in record else None
    rounded, made_from = RoundedValues(n_values, n_bits), parse_origin(record)
    return MarkText(_count(record["n"]), checksum, entries, rounded, judged, made_from)


def _rows(record: dict[str, object], version: int) -> Iterator[list[object]]:
    """Yield [pass name, form, bytes, error] of each weight."""
    numbers = _list(record["w"])
    if version == 1:
        yield from map(_list, numbers)
        return
    methods = [_list(method) for method in _list(record["p"])]
    for place, n_bytes, error in zip(numbers[::3], numbers[1::3], numbers[2::3], strict=True):
        yield [*methods[_count(place)], n_bytes, error]


def _entry(name: object, form: object, n_bytes: object, error: object) -> tuple[str, str, int, float]:
    if not isinstance(form, str) or form not in _FORMS:
        raise ValueError("a form that no weight has")
    return _name(name), form[:1], _count(n_bytes, 2**63), _number(error)


def _judgement(metric: object, limit: object, on_data: object) -> Judgement:
    if not isinstance(metric, str):  # a user's own function stands there as ""
        raise TypeError("no name")
    known = None if limit is None else _number(limit)
    if known is not None and not 0 < known < math.inf:
        raise ValueError("no limit")
    return Judgement(metric, known, bool(_count(on_data)))


def _name(value: object) -> str:
    if not isinstance(value, str) or not _METHOD_NAME.fullmatch(value):
        raise ValueError("a name that no method has")
    return value


def _list(value: object) -> list[object]:
    if not isinstance(value, list):
        raise TypeError("no list")
    return value


def _count(value: object, limit: int = _MAX_COUNT) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < limit:
        raise ValueError("no count")
    return value


def _number(value: object) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise TypeError("no number")
    return float(value)


def _whole(digits: str) -> int:
    if len(digits) > _MAX_DIGITS:
        raise ValueError("a number of so many digits")
    return int(digits)


def _broken(text: str) -> float:
    if len(text) > _MAX_NUMBER_CHARACTERS:
        raise ValueError("a number of so many digits")
    return float(text)
