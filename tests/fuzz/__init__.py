"""Feeds onnxzip what nobody would write by hand; `python -m tests.fuzz --help` says how."""

import os

# Runs are forked from a process that has imported everything: it must have no threads of BLAS, and this
# has to be said before numpy is imported.
for _variable in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_variable] = "1"
