"""Exact checks on providers that do not repeat themselves, as GPUs with TF32."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import onnxzip
from onnxzip.errors import VerificationError
from onnxzip.measure import examination
from onnxzip.prove import drift, exact
from onnxzip.runtime.session import Session, open_session

MODEL = Path(__file__).parents[2] / "models" / "digits_cnn.onnx"


class NoisySession:
    """A CPU session whose outputs are off by a different relative error each time."""

    def __init__(self, session: Session, rng: np.random.Generator, noise: float) -> None:
        self._session, self._rng, self._noise = session, rng, noise
        self.provider, self.n_provider_nodes, self.n_nodes = "Noisy", None, None

    def run(self, feeds: Mapping[str, Any], names: Sequence[str] | None = None) -> dict[str, Any]:
        factor = np.float32(1 + self._noise * self._rng.uniform(0.5, 1.0))
        return {name: array * factor for name, array in self._session.run(feeds, names).items()}

    def __enter__(self) -> NoisySession:
        return self

    def __exit__(self, *_: object) -> None:
        self._session.close()


def compress_on_noisy(monkeypatch: pytest.MonkeyPatch, noise: Sequence[float]) -> onnxzip.Result:
    """Compress a model with checks on a provider; `noise` of its first sessions, and of all others."""
    rng, levels = np.random.default_rng(0), list(noise)

    def open_noisy(source: Any, *, provider: str = "CPU", **options: Any) -> Any:
        if provider != "Noisy":
            return open_session(source, provider=provider, **options)
        level = levels.pop(0) if len(levels) > 1 else levels[0]
        return NoisySession(open_session(source, **options), rng, level)

    monkeypatch.setattr(exact, "open_session", open_noisy)
    monkeypatch.setattr(drift, "open_session", open_noisy)
    monkeypatch.setattr(examination, "_usable_providers", lambda _: (["CPU", "Noisy"], []))
    return onnxzip.compress(MODEL, passes=("scalar",), level=1)


def test_what_a_provider_itself_differs_from_the_cpu_is_no_failure(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    checks = compress_on_noisy(monkeypatch, [1e-3, 1e-3, 4e-4]).report.checks
    (exact,) = [c for c in checks if c.kind == "exact" and c.provider == "Noisy"]
    assert 1e-5 < exact.value <= exact.limit < 2e-3
    assert "Noisy itself is that far from the CPU" in exact.note
    (on_cpu,) = [c for c in checks if c.kind == "exact" and c.provider == "CPU"]
    assert on_cpu.limit == pytest.approx(1e-5)


def test_a_provider_on_which_the_file_differs_more_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(VerificationError, match="on Noisy"):
        compress_on_noisy(monkeypatch, [1e-6, 1e-6, 1e-3])


def test_large_errors_of_a_provider_excuse_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(VerificationError, match="on Noisy"):
        compress_on_noisy(monkeypatch, [0.3, 0.3, 0.03])
