"""Times that are told, not taken: what computes in int8 takes half the time on every machine."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from onnxzip.graph import Model
from onnxzip.measure.speed.stopwatch import Stopwatch
from onnxzip.records.costs.latency import Latency
from onnxzip.runtime.timing.rounds import Patience


def _is_rounded(model: Model) -> bool:
    return any(node.op_type == "DequantizeLinear" for node in model.proto.graph.node)


def tell_times(monkeypatch: pytest.MonkeyPatch, *, int8: float = 0.5) -> None:
    """Let nodes and models with int8 in them take `int8` of the time of others."""

    def node_seconds(self: Stopwatch, model: Model) -> dict[str, float]:
        share = int8 if _is_rounded(model) else 1.0
        return {node.name: share * 1e-4 for node in model.proto.graph.node}

    def latencies(
        self: Stopwatch, models: Sequence[Model], patience: Patience | None = None
    ) -> tuple[Latency, ...]:
        return tuple(
            Latency(tuple((int8 if _is_rounded(m) else 1.0) * (1e-3 + 1e-6 * i) for i in range(16)))
            for m in models
        )

    monkeypatch.setattr(Stopwatch, "node_seconds", node_seconds)
    monkeypatch.setattr(Stopwatch, "latencies", latencies)
