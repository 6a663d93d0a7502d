"""Progress where stderr is no terminal: a line every ten seconds, for logs of CI and the like."""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import TracebackType

from onnxzip.cli.progress.work import Work

EVERY_S = 10.0
"""Between two lines; a run that is shorter prints none."""


class Lines:
    """Prints what is going on every ten seconds, from a thread."""

    def __init__(self, work: Work, print_line: Callable[[str], None], every_s: float = EVERY_S) -> None:
        self._work, self._print, self._every_s = work, print_line, every_s
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> None:
        """Begin."""
        self._thread.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End; no line comes after this."""
        self._is_over.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._is_over.wait(self._every_s):
            self._print(self._work.line())
