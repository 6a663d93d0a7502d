"""Runs a model in a process of its own, to see whether that outlives it."""

from __future__ import annotations

import contextlib
import faulthandler
import os
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

from joblib import Parallel, delayed

from onnxzip.errors import CalibrationError, ModelError, ProviderError
from onnxzip.records.aliases import Feeds
from onnxzip.runtime.loadable import LoadableModel
from onnxzip.runtime.session import open_session


def survives(source: LoadableModel, feeds: Feeds, custom_ops: Path | None = None) -> bool:
    """Run a model in a process of its own, and say whether that outlived it; it may well have failed.

    Some kernels do not check their sizes: a clip that is shorter than a frame ends onnxruntime 1.32, and
    whatever process it is in, with a division by zero in STFT.
    """
    try:
        task = delayed(_try_to_run)(source, feeds, custom_ops, os.getpid())
        Parallel(n_jobs=2, prefer="processes")([task])
    except BrokenProcessPool:
        return False
    return True


def _try_to_run(source: LoadableModel, feeds: Feeds, custom_ops: Path | None, asked_by: int) -> None:
    if os.getpid() != asked_by:  # joblib makes no process inside the workers of a multiprocessing pool
        faulthandler.disable()  # it would print the crash that is being looked for
    refusals = (CalibrationError, ModelError, ProviderError)
    with contextlib.suppress(*refusals), open_session(source, custom_ops=custom_ops) as session:
        session.run(feeds)
