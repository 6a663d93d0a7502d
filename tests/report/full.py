"""A report in which everything there may be is, for pages to show."""

from __future__ import annotations

import base64
import io
from dataclasses import replace

import numpy as np
from PIL import Image

from onnxzip.records.check import Check, SampleLosses
from onnxzip.records.costs.latency import Latency, Processor, Ratio, Speed
from onnxzip.records.finding import Finding
from onnxzip.records.plan import Rewrite
from onnxzip.report.example import Example, Shown
from onnxzip.report.record import LayerReport, LayerSensitivity, LoadSeconds, TrialReport
from tests.report.test_report import REPORT, SKIPS


def png(seed: int) -> str:
    """Return a picture of 8 x 8 noise as a PNG file, in base64."""
    pixels = np.random.default_rng(seed).integers(0, 256, (8, 8), np.uint8)
    data = io.BytesIO()
    Image.fromarray(pixels).save(data, "PNG")
    return base64.b64encode(data.getvalue()).decode("ascii")


def layer(index: int) -> LayerReport:
    name = f"/encoder/layer.{index}/attention/output/dense/MatMul.weight_transposed"
    n_bytes = 4096 * (index + 1)
    return LayerReport(
        *(name, "MatMul", (64, 16 * (index + 1)), "float32", "codebook", "stored", {}),
        *(n_bytes, n_bytes // 12, 0.08, 10 * n_bytes),
    )


DRIFT = Check(
    *("drift", "CPU", "nrmse", 0.0974, 0.1, True, 128, None, "held out: 128 of 512 samples"),
    interval=(0.087, 0.1124),
    constant=1.0,
    by_output={"scores": 0.0912, "boxes": 0.0974, "mask": 0.04},
    by_family={"noise": 0.05, "photographs": 0.0974},
    per_sample=SampleLosses(0.05, 0.1, 0.314, tuple(0.01 * 1.09**i for i in range(41)), (3, 40, 7)),
    n_to_settle=391,
)
EXAMPLE = Example(
    *(3, "the median sample", 0.05),
    (
        Shown("pixels", "float32", (1, 8, 8), "picture", "black is 0", original_png=png(0), size=(8, 8)),
        Shown("ids", "int64", (3,), "values", "", (0, 1, 2), (101, 7592, 102)),
    ),
    (
        Shown(
            *("mask", "float32", (8, 8), "picture", "black is -1, white 1"),
            **{"original_png": png(1), "compressed_png": png(2), "size": (8, 8)},
        ),
        Shown("scores", "float32", (3,), "scores", "", (0, 1, 2), (0.1, 0.7, 0.2), (0.15, 0.6, 0.25)),
        Shown("wave", "float32", (3,), "curve", "", (0, 1, 2), (0.0, 1.0, 0.0), (0.1, 0.9, 0.0)),
    ),
)
SPEED = Speed(
    Latency(tuple(0.0008 + 0.0001 * (i % 7) for i in range(64))),
    Latency(tuple(0.0004 + 0.00005 * (i % 5) for i in range(64))),
    *(Ratio(0.4544, 0.431, 0.4696), 1, 16, "CPU", Processor("Some CPU 9", ("AVX-512 VNNI",))),
)
"""Runs of a file that is twice as fast."""

FULL = replace(
    REPORT,
    source="a/very_long_folder_name_without_any_break/resnet20_fp32_opset17_simplified_final.onnx",
    layers=tuple(map(layer, range(40))),
    rewrites=(Rewrite("fold", "bn1", "batch norm folded"),),
    skips=SKIPS,
    checks=(
        *REPORT.checks[:2],
        DRIFT,
        replace(DRIFT, provider="CUDA", passed=False, value=0.2),
        replace(DRIFT, provider="DirectML", passed=False, unproven="output 'y' is NaN on every input"),
        replace(DRIFT, kind="opinion", note="generated inputs"),
    ),
    warnings=(Finding("range", "input 'x' has values from 0 to 255; the network expects 0 to 1"),),
    sensitivities=tuple(LayerSensitivity(layer(i).name, 0.05, 0.001 * (i + 1)) for i in range(40)),
    load_seconds=LoadSeconds(0.012, 0.063),
    trials=(
        TrialReport("planned", 160_000, 0.12, False),
        TrialReport("refitted", 149_000, 0.107, False),
        TrialReport("refitted", 155_000, 0.091, True),
        TrialReport("refitted", 154_000, float("inf"), False),
        TrialReport("proved", 152_340, 0.0974, True, is_chosen=True),
    ),
    examples=(EXAMPLE, replace(EXAMPLE, sample=40, rank="one in twenty loses more", n_left_out=2)),
    config='tolerance = 0.05\ncalibration = "my images.npz"\n',
    speed=SPEED,
    command="onnxzip --tolerance 0.05 -c 'my images.npz' --report r.html in.onnx out.onnx",
)
"""40 layers with long names; a verdict of every kind; pictures, scores, lines and lists."""
