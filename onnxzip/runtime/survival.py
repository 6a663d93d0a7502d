"""Runs a model in a process of its own, to see whether that outlives it, or to be sure that we do."""

from __future__ import annotations

import contextlib
from pathlib import Path

from onnxzip.errors import CalibrationError, ModelError, ProviderError
from onnxzip.records.aliases import Feeds
from onnxzip.runtime.apart import Limits, LostProcessError, run_apart
from onnxzip.runtime.feeding import RunLimit
from onnxzip.runtime.loadable import LoadableModel
from onnxzip.runtime.outputs import Outputs
from onnxzip.runtime.session import Optimisation, open_session

_RUN_LIMITS = Limits(cpu_s=600)
"""For one run of a user's model: what takes longer is not to be run dozens of times."""


def survives(
    source: LoadableModel,
    feeds: Feeds,
    custom_ops: Path | None = None,
    limit: RunLimit | None = None,
) -> bool:
    """Run a model in a process of its own, and say whether that outlived it; it may well have failed.

    Some kernels do not check their sizes: a clip that is shorter than a frame ends onnxruntime 1.32, and
    whatever process it is in, with a division by zero in STFT.
    """
    try:
        run_apart(_RUN_LIMITS, _try_to_run, source, feeds, custom_ops, limit)
    except LostProcessError:
        return False
    return True


def _try_to_run(
    source: LoadableModel, feeds: Feeds, custom_ops: Path | None, limit: RunLimit | None
) -> None:
    refusals = (CalibrationError, ModelError, ProviderError)
    with contextlib.suppress(*refusals), open_session(source, custom_ops=custom_ops) as session:
        session.set_limit(limit)
        session.run(feeds)


def run_once(
    source: LoadableModel, feeds: Feeds, optimisation: Optimisation, custom_ops: Path | None
) -> Outputs:
    """Load a model, run it once and forget it: a task for `run_apart`.

    Raises:
        InputError: it cannot be loaded, or fails.
    """
    with open_session(source, optimisation=optimisation, custom_ops=custom_ops) as session:
        return session.run(feeds)
