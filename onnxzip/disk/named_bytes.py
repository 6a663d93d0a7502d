"""A serialised model that has a name, such as that of the stream that it came by."""

from __future__ import annotations


class NamedBytes(bytes):
    """Bytes that messages and reports call by a name."""

    def __new__(cls, data: bytes, name: str) -> NamedBytes:
        """Return the bytes with their name."""
        self = super().__new__(cls, data)
        self.name = name
        return self

    name: str
