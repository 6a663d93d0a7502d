"""Mints names that no value or node of a model has."""

from __future__ import annotations

from collections.abc import Iterable

_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"
"""Of base 36: short, and no two letters differ in case only."""


class FreshNames:
    """Makes short new names; every node and value name of the file costs bytes several times."""

    def __init__(self, taken: Iterable[str]) -> None:
        self._taken = set(taken)
        self._count = 0

    def new(self, wish: str = "") -> str:
        """Return `wish` if it is free, else the wish with a number, else a short new name."""
        name = wish
        while not name or name in self._taken:
            name = f"{wish}_{_base36(self._count)}" if wish else f"z{_base36(self._count)}"
            self._count += 1
        self._taken.add(name)
        return name


def _base36(number: int) -> str:
    digits = _DIGITS[number % 36]
    while number >= 36:
        number //= 36
        digits = _DIGITS[number % 36] + digits
    return digits
