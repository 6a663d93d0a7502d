"""Whether a model is the one that a compressed file was made from, and what was not proven then."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from onnxzip import graph
from onnxzip.errors import ModelError
from onnxzip.graph import Model, Origin
from onnxzip.measure.subject import Subject
from onnxzip.records.check import Check
from onnxzip.report.record import Port

_NEXT = "pass the original"


def note_on_original(file: Model, original: Model, made_from: Origin, *, has_tolerance: bool) -> str:
    """Say what a reader must know where a model is not the one that a file was made from.

    Args:
        file: the compressed model.
        original: what it is compared with.
        made_from: what the file says about its original.
        has_tolerance: whether the user says what loss he allows.

    Returns:
        "" where it is, or where the file does not tell.

    Raises:
        ModelError: its inputs or outputs are others; or its weights, and no tolerance says that the
            loss is to be judged all the same.
    """
    place = f"{original.source}: is not what {file.source} was made from"
    for what, ours, theirs in zip(
        ("input", "output"), graph.read_ports(file), graph.read_ports(original), strict=True
    ):
        if finding := _difference(what, ours, theirs):
            raise ModelError(f"{place}: {finding}; {_NEXT}")
    if made_from.checksum in (None, graph.weights_checksum(original)):
        return ""
    if not has_tolerance:
        raise ModelError(
            f"{place}: its weights are others; {_NEXT}, or a `tolerance` to have the loss judged anyway"
        )
    return "the file was made from other weights than these"


def doubts_since(made_from: Origin, subject: Subject) -> list[str]:
    """Return what was not proven when a file was made, and cannot be on what it is tested on.

    The user's own inputs may prove it.
    """
    if not subject.is_generated:
        return []
    known = tuple(f"output {name!r} " for name in subject.unproven)
    return [reason for reason in made_from.unproven if not reason.startswith(known)]


def doubted(checks: Sequence[Check], unproven: Sequence[str]) -> tuple[Check, ...]:
    """Return the checks of a file alone: what was not proven when it was made is not proven by them."""
    reason = "; ".join(unproven)
    if not reason:
        return tuple(checks)
    return tuple(c if c.failed else replace(c, passed=False, unproven=reason) for c in checks)


def held_to_a_constant(check: Check) -> Check:
    """Return a loss that nothing is said to limit, held to that of a constant answer.

    What loses more has lost everything, or is compared with another model than its original.
    """
    if math.isfinite(check.limit) or check.constant is None or check.unproven:
        return check
    loss, most = (-v if check.higher_is_better else v for v in (check.value, check.constant))
    if loss < most:
        return check
    note = f"{check.note}; a constant answer loses no more: is this the original?"
    return replace(check, passed=False, limit=check.constant, note=note.removeprefix("; "))


def _difference(what: str, ours: Sequence[Port], theirs: Sequence[Port]) -> str:
    """Return the first thing in which inputs or outputs differ, "" where they are the same."""
    known = {port.name: port for port in theirs}
    for port in ours:
        other = known.pop(port.name, None)
        if other is None:
            return f"it has no {what} {port.name!r}"
        if port.dtype != other.dtype or not _is_one_shape(port, other):
            return f"its {what} {port.name!r} is {_told(other)}, that of the file {_told(port)}"
    return f"it has one {what} more, {next(iter(known))!r}" if known else ""


def _is_one_shape(left: Port, right: Port) -> bool:
    """Whether two shapes may be one: sizes that both state are the same."""
    if left.shape is None or right.shape is None:
        return True
    if len(left.shape) != len(right.shape):
        return False
    pairs = zip(left.shape, right.shape, strict=True)
    return all(a == b for a, b in pairs if isinstance(a, int) and isinstance(b, int))


def _told(port: Port) -> str:
    shape = "" if port.shape is None else "[" + ", ".join(map(str, port.shape)) + "]"
    return f"{port.dtype}{shape}"
