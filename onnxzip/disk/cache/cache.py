"""What a run may look up instead of working it out again, and what it keeps for the next one."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar
from weakref import WeakKeyDictionary

from onnxzip.disk.cache.content import digest
from onnxzip.disk.cache.entry import DAMAGED, Kind, from_bytes, to_bytes
from onnxzip.disk.cache.store import Store
from onnxzip.errors import reason_of
from onnxzip.records.finding import Finding
from onnxzip.records.recalled import Recalled

_log = logging.getLogger(__name__)

T = TypeVar("T")

Parts = Callable[[], Sequence[object]]
"""Returns all that a result follows from; only called where there is a cache."""


@dataclass(frozen=True, eq=False)
class _Opened:
    """A folder, and what this process computes with."""

    store: Store
    origin: str
    surroundings: str


class Cache:
    """Results by the content of all that they follow from; without a folder nothing is kept.

    What is looked up is equal, to the last bit, to what would be worked out. Verdicts are never kept: a
    file is proved each time.

    """

    def __init__(self, opened: _Opened | None = None) -> None:
        """See `open_cache`."""
        self._opened = opened
        self._failed: list[Finding] = []
        self._n_too_large = 0
        self._counts: dict[str, list[int]] = {}
        self._digests: WeakKeyDictionary[object, str] = WeakKeyDictionary()

    @property
    def findings(self) -> Sequence[Finding]:
        """Why something was not kept."""
        if not self._n_too_large:
            return self._failed
        n = self._n_too_large
        text = f"cache: {n} result{'s' * (n != 1)} not kept: larger than cache_size; allow more"
        return (*self._failed, Finding("cache", text))

    @property
    def origin(self) -> str:
        """Digest of the content of the model that the run is about; "" where nothing is kept."""
        return "" if self._opened is None else self._opened.origin

    @property
    def is_on(self) -> bool:
        """Whether anything is kept."""
        return self._opened is not None

    def recall(self, kind: Kind[T], parts: Parts, make: Callable[[], T]) -> T:
        """Return a result that is kept, or make it and keep it.

        Args:
            kind: what it is.
            parts: see `Parts`.
            make: works it out.
        """
        if self._opened is None:
            return make()
        found = self.find(kind, parts)
        return self.keep(kind, parts, make()) if found is None else found

    def find(self, kind: Kind[T], parts: Parts) -> T | None:
        """Return a result that is kept; None where there is none, or no cache."""
        if self._opened is None:
            return None
        found = self._look_up(kind, self._key(self._opened, kind, parts))
        self._count(kind, int(found is not None), 1)
        return found

    def find_all(self, kind: Kind[T], parts: Sequence[Parts]) -> list[T] | None:
        """Return results that are worked out together; None unless all of them are kept."""
        if self._opened is None:
            return None
        found: list[T] = []
        for one in parts:
            result = self._look_up(kind, self._key(self._opened, kind, one))
            if result is None:
                break
            found.append(result)
        is_complete = len(found) == len(parts)
        self._count(kind, len(parts) if is_complete else 0, len(parts))
        return found if is_complete else None

    def keep(self, kind: Kind[T], parts: Parts, result: T) -> T:
        """Keep a result, and return it."""
        if self._opened is not None and not self._failed:
            content = to_bytes(kind.pack(result), is_small=kind.is_small)
            try:
                is_kept = self._opened.store.write(self._key(self._opened, kind, parts), content)
                self._n_too_large += not is_kept
            except OSError as error:
                reason = f"cache: what was worked out is not kept: {reason_of(error)}"
                self._failed.append(Finding("cache", reason))
        return result

    def digest(self, record: object) -> str:
        """Return the digest of a record that nobody changes, which is worked out once."""
        if record not in self._digests:
            self._digests[record] = digest(record)
        return self._digests[record]

    @property
    def recalled(self) -> tuple[Recalled, ...]:
        """How many results were looked up, of how many, by kind."""
        return tuple(Recalled(kind, *counts) for kind, counts in self._counts.items())

    def _count(self, kind: Kind[T], n_recalled: int, n_wanted: int) -> None:
        counts = self._counts.setdefault(kind.name, [0, 0])
        counts[0] += n_recalled
        counts[1] += n_wanted

    def _key(self, opened: _Opened, kind: Kind[T], parts: Parts) -> str:
        return digest(opened.surroundings, kind.name, *parts())

    def _look_up(self, kind: Kind[T], key: str) -> T | None:
        assert self._opened is not None
        content = self._opened.store.read(key)
        if content is None:
            return None
        try:
            return kind.unpack(from_bytes(content))
        except DAMAGED as error:
            _log.debug("cache: %s %s: no such entry, and is made again: %s", kind.name, key, error)
            return None


NOTHING_KEPT = Cache()
"""For who works without a folder."""


def open_cache(folder: Path, max_bytes: int, origin: str, surroundings: str) -> Cache:
    """Return the cache in a folder, which is made where it is not there.

    Args:
        folder: of the cache.
        max_bytes: that it may take.
        origin: digest of the content of the model that the run is about.
        surroundings: digest of what this process computes with.

    Raises:
        OutputError: nothing can be written there.
    """
    return Cache(_Opened(Store(folder, max_bytes), origin, surroundings))
