"""Runs models with onnxruntime: the only package that imports it."""

import os

# onnxruntime (1.32, which reads this when it is imported) would warn on stderr where it cannot store a
# number for its telemetry under HOME, and at no level of logging that is set later is it silent.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
