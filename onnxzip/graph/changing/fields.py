"""Deletes from and replaces repeated fields of protobuf messages."""

from __future__ import annotations

from collections.abc import Callable, Iterable, MutableSequence
from typing import TypeVar

from google.protobuf.message import Message

_M = TypeVar("_M", bound=Message)


def delete_if(field: MutableSequence[_M], is_unwanted: Callable[[_M], bool]) -> None:
    """Delete the messages for which `is_unwanted`, in place."""
    for i in reversed(range(len(field))):
        if is_unwanted(field[i]):
            del field[i]


def replace_all(field: MutableSequence[_M], messages: Iterable[_M]) -> None:
    """Let a field have these messages, in place; they may be its own."""
    # A message that is deleted from its field is invalid, hence the copies.
    copies = [type(message).FromString(message.SerializeToString()) for message in messages]
    del field[:]
    field.extend(copies)
