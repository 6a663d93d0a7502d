"""How the tests run: as many at a time as there are cores, a thread each; benchmarks one at a time."""

from __future__ import annotations

import os

import pytest

if "PYTEST_XDIST_WORKER" in os.environ:
    # Workers are as many as cores. Threads of BLAS that wait for one another burn up to five times the
    # work, so each worker gets one; this has to be said before numpy is imported.
    for variable in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(variable, "1")


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> None:
    """Keep benchmarks in one process: workers disturb each other's times and hide what is printed."""
    if config.option.markexpr == "bench" and hasattr(config.option, "numprocesses"):
        config.option.numprocesses = 0
        config.option.dist = "no"
