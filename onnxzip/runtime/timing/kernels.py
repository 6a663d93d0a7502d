"""How long each kernel of a model takes: onnxruntime's own profile of a few runs.

Tried on 1.17 and 1.32: an event of the category "Node" is the run of a kernel, in whole microseconds, of
which taking the time is one or two; "model_run" ends a run. The kernels of a body are counted beside the
node that it belongs to, whose time holds theirs. Of an accelerator only what the CPU does is told.
"""

from __future__ import annotations

import json
import statistics
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from onnxzip.disk.temporary import temporary_folder
from onnxzip.errors import OutputError
from onnxzip.records.aliases import Feeds
from onnxzip.runtime.loadable import LoadableModel
from onnxzip.runtime.session import create_session, session_options

_KERNEL = "_kernel_time"
"""What onnxruntime adds to the name of a node."""

_N_WARM_UP, _MIN_RUNS = 2, 3
"""Runs that are not counted, and the fewest that are."""


class Kernel(NamedTuple):
    """A kernel of a session: the name of its node in the optimised graph, and its operator."""

    name: str
    op_type: str


def kernel_seconds(
    source: LoadableModel,
    feeds: Sequence[Feeds],
    *,
    n_threads: int = 1,
    custom_ops: Path | None = None,
    n_runs: int = 20,
    max_seconds: float = 2.0,
) -> dict[Kernel, float]:
    """Run a model on the CPU and return the median of the seconds that each kernel takes in a run.

    Args:
        source: the model.
        feeds: inputs of a run each.
        n_threads: of the session.
        custom_ops: shared library of custom operators to register.
        n_runs: that are counted.
        max_seconds: after which no further run begins; three are made.

    Raises:
        CalibrationError: the feeds do not fit.
        ModelError: onnxruntime refuses the model, or it fails.
        ProviderError: an operator is unknown.
        OutputError: there is no room for temporary files.
    """
    options = session_options("all", custom_ops, n_threads)
    with temporary_folder() as folder:
        options.enable_profiling = True
        options.profile_file_prefix = str(folder / "profile")
        with create_session(source, options, "CPU") as session:  # which writes it when it is closed
            begun = time.perf_counter()
            for turn in range(_N_WARM_UP + n_runs):
                is_late = time.perf_counter() - begun > max_seconds
                if is_late and turn >= _N_WARM_UP + _MIN_RUNS:
                    break
                session.run(feeds[turn % len(feeds)])
        runs = list(_runs(_events(folder)))[_N_WARM_UP:]
    kernels = dict.fromkeys(kernel for run in runs for kernel in run)
    return {kernel: statistics.median(run.get(kernel, 0.0) for run in runs) for kernel in kernels}


def _events(folder: Path) -> list[Mapping[str, Any]]:
    """Return the events of the only profile in a folder."""
    try:
        (path,) = folder.iterdir()
        events: list[Mapping[str, Any]] = json.loads(path.read_text("utf-8", "replace"), strict=False)
    except ValueError as error:  # there is no file, or it is no JSON: it is not whole
        raise OutputError(
            f"{folder.parent}: has no room for a profile of the model's runs; free some, or let TMPDIR "
            "name another folder"
        ) from error
    return events


def _runs(events: Sequence[Mapping[str, Any]]) -> Iterator[dict[Kernel, float]]:
    """Yield the seconds of each kernel in each run, all its runs in it together."""
    found: defaultdict[Kernel, float] = defaultdict(float)
    for event in events:
        name = str(event.get("name", ""))
        if event.get("cat") == "Node" and name.endswith(_KERNEL):
            kernel = Kernel(name.removesuffix(_KERNEL), str(event["args"]["op_name"]))
            found[kernel] += event["dur"] / 1e6
        elif name == "model_run":
            yield dict(found)
            found.clear()
