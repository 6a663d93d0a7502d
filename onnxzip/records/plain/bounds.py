"""What the figures of a record can be: others are made by no run, and not read from any file."""

from __future__ import annotations

import math


def check_least(record: object, least: float, *names: str) -> None:
    """Refuse a record with a figure below what it can be; None and nan are no figures.

    Args:
        record: a dataclass.
        least: what each of them can be.
        names: its fields: numbers, or tuples of them.

    Raises:
        ValueError: there is one.
    """
    for name, value in _figures(record, names):
        if value < least:
            raise ValueError(f"{_place(record, name)} is {value}, and cannot be below {least:g}")


def check_finite(record: object, *names: str) -> None:
    """Refuse a record with a figure that is endless, or no number.

    Args:
        record: a dataclass.
        names: its fields: numbers, or tuples of them.

    Raises:
        ValueError: there is one.
    """
    for name, value in _figures(record, names):
        if not math.isfinite(value):
            raise ValueError(f"{_place(record, name)} is {value}, and cannot be")


def _figures(record: object, names: tuple[str, ...]) -> list[tuple[str, float]]:
    values = [(name, getattr(record, name)) for name in names]
    return [
        (name, figure)
        for name, value in values
        for figure in (value if isinstance(value, tuple) else (value,))
        if figure is not None
    ]


def _place(record: object, name: str) -> str:
    return f"{type(record).__name__}.{name}"
