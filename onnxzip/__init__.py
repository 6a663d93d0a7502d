"""Make ONNX models many times smaller, as plain ONNX files that any stock onnxruntime loads."""

from onnxzip.api import compress, decompress, inspect, verify
from onnxzip.errors import (
    CalibrationError,
    InputError,
    ModelError,
    OnnxzipError,
    OutputError,
    ProviderError,
    ToleranceError,
    UsageError,
    VerificationError,
)
from onnxzip.options import Options, Result
from onnxzip.records.check import Check
from onnxzip.records.plan import Skip
from onnxzip.report.record import LayerReport, Report

__all__ = [
    "CalibrationError",
    "Check",
    "InputError",
    "LayerReport",
    "ModelError",
    "OnnxzipError",
    "Options",
    "OutputError",
    "ProviderError",
    "Report",
    "Result",
    "Skip",
    "ToleranceError",
    "UsageError",
    "VerificationError",
    "compress",
    "decompress",
    "inspect",
    "verify",
]
