"""Which nodes of a build a session does not run in int8."""

from __future__ import annotations

from pathlib import Path

from onnxzip.propose.quantising.builds import Build


def unfused(build: Build, custom_ops: Path | None) -> set[str]:
    """Return the outputs of the nodes that were to run in int8 and do not."""
    return set()
