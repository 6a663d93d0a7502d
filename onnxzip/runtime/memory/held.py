"""What a process holds of memory that the system cannot take back, and all that it has started.

That is what lies in no file: RssAnon and RssShmem of proc(5). Pages of mapped files, in which weights
lie, are the system's to take back whenever another needs the room.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

_HELD = ("RssAnon:", "RssShmem:")


def is_known() -> bool:
    """Whether this system tells it: Linux does."""
    return held_alone(os.getpid()) > 0


def held_bytes() -> int:
    """Return what this process and all that it has started hold; 0 where that is not known."""
    return sum(map(held_alone, family(os.getpid())))


def held_alone(process: int) -> int:
    """Return what a process holds, 0 where it has ended."""
    try:
        lines = Path(f"/proc/{process}/status").read_text("ascii", "replace").splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith(_HELD))


def family(process: int) -> Iterator[int]:
    """Yield a process and all that it has started."""
    yield process
    try:
        tasks = list(Path(f"/proc/{process}/task").iterdir())
        children = [int(child) for task in tasks for child in (task / "children").read_text().split()]
    except OSError:  # it has ended
        return
    for child in children:
        yield from family(child)
