"""What workers are asked to do in tests; in a module of its own, which their processes import."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from onnxzip.errors import ModelError
from onnxzip.propose.offers import collect_offers


def offers_dying_once(marker: Path, *arguments: object) -> object:
    """Return what passes offer; the first process that begins is killed before it has told."""
    found = collect_offers(*arguments)  # type: ignore[arg-type]
    try:
        marker.touch(exist_ok=False)
    except FileExistsError:
        return found
    os.kill(os.getpid(), signal.SIGKILL)
    return None


def die() -> None:
    """End, as a process does that takes more memory than there is."""
    os.kill(os.getpid(), signal.SIGKILL)


def sleep(seconds: float) -> float:
    """Take a while."""
    time.sleep(seconds)
    return seconds


def fail(kind: str) -> None:
    """Raise what is told of in the user's words, or a fault of our own."""
    raise ModelError("w: is odd; mend it") if kind == "ours" else ZeroDivisionError("no such thing")
