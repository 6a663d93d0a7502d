"""Make ONNX models many times smaller, as plain ONNX files that any stock onnxruntime loads."""

from onnxzip.errors import loading

with loading():  # first of all, so that Ctrl-C is answered from the beginning
    import logging
    from importlib.metadata import version

    from onnxzip.api import compress, decompress, inspect, load, read_report, verify
    from onnxzip.errors import (
        CalibrationError,
        ClusterError,
        InputError,
        ModelError,
        OnnxzipError,
        OutputError,
        ProviderError,
        ToleranceError,
        TrustError,
        UsageError,
        VerificationError,
    )
    from onnxzip.options import Options, Result
    from onnxzip.records.check import Check
    from onnxzip.records.costs.latency import Speed
    from onnxzip.records.finding import Finding
    from onnxzip.records.plan import Skip
    from onnxzip.report.example import Example, Shown
    from onnxzip.report.record import (
        Inspection,
        LayerReport,
        LayerSensitivity,
        LoadSeconds,
        Port,
        Report,
        TrialReport,
    )

__version__ = version("onnxzip")
__all__ = [
    "CalibrationError",
    "Check",
    "ClusterError",
    "Example",
    "Finding",
    "InputError",
    "Inspection",
    "LayerReport",
    "LayerSensitivity",
    "LoadSeconds",
    "ModelError",
    "OnnxzipError",
    "Options",
    "OutputError",
    "Port",
    "ProviderError",
    "Report",
    "Result",
    "Shown",
    "Skip",
    "Speed",
    "ToleranceError",
    "TrialReport",
    "TrustError",
    "UsageError",
    "VerificationError",
    "__version__",
    "compress",
    "decompress",
    "inspect",
    "load",
    "read_report",
    "verify",
]

logging.getLogger(__name__).addHandler(logging.NullHandler())
