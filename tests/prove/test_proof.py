"""Proofs that fail: on providers that do not repeat themselves (GPUs with TF32), on wrong weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import onnxzip
from onnxzip.choose.chooser import Chooser
from onnxzip.errors import ToleranceError, VerificationError
from onnxzip.measure import examination
from onnxzip.prove import drift, exact
from onnxzip.prove.decoded_weights import _max_deviation
from onnxzip.records.plan import Plan
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


def compress_on_noisy(
    monkeypatch: pytest.MonkeyPatch, noise: Sequence[float], **settings: Any
) -> onnxzip.Result:
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
    return onnxzip.compress(MODEL, passes=("scalar",), level=1, **settings)


def test_what_a_provider_itself_differs_from_the_cpu_is_no_failure(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    checks = compress_on_noisy(monkeypatch, [1e-3, 1e-3, 4e-4]).report.checks
    (exact,) = [c for c in checks if c.kind == "exact" and c.provider == "Noisy"]
    assert 1e-5 < exact.value <= exact.limit < 2e-3
    assert "Noisy itself repeats its outputs no better" in exact.note
    (on_cpu,) = [c for c in checks if c.kind == "exact" and c.provider == "CPU"]
    assert on_cpu.limit == pytest.approx(1e-5)


def test_a_provider_on_which_the_file_differs_more_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(VerificationError, match="on Noisy"):
        compress_on_noisy(monkeypatch, [1e-6, 1e-6, 1e-3])


def test_large_errors_of_a_provider_excuse_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(VerificationError, match="on Noisy"):
        compress_on_noisy(monkeypatch, [0.3, 0.3, 0.03])


QUIET, LOUD = 1e-6, 0.3
ROUND = [QUIET, QUIET, QUIET, QUIET, LOUD]
"""A proof whose drift check fails: three plain references, the original, the compressed model."""


@pytest.fixture
def budgets(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The budgets of the plans that failed, and of the tighter ones made for them, in order."""
    found: list[float] = []
    tighter = Chooser.tighter

    def spy(self: Chooser, plan: Plan, drifts: Sequence[Any]) -> Plan:
        if not found:
            found.append(plan.budget)
        plan = tighter(self, plan, drifts)
        found.append(plan.budget)
        return plan

    monkeypatch.setattr(Chooser, "tighter", spy)
    return found


def test_a_plan_that_drifts_on_a_provider_is_followed_by_tighter_ones(
    monkeypatch: pytest.MonkeyPatch, budgets: list[float]
) -> None:
    """The first has the share of the budget that the loss was too large by; then 0.5 at least.

    Sessions that checks had closed are opened again.
    """
    checks = compress_on_noisy(monkeypatch, [*ROUND, *ROUND, QUIET]).report.checks
    assert all(check.passed for check in checks)
    assert {check.provider for check in checks if check.kind == "drift"} == {"CPU", "Noisy"}
    assert budgets == pytest.approx([budgets[0], 0.5 * budgets[0], 0.25 * budgets[0]])


def test_a_step_back_is_as_long_as_the_measured_excess(
    monkeypatch: pytest.MonkeyPatch, budgets: list[float]
) -> None:
    values: list[float] = []
    tighter = Chooser.tighter

    def spy(self: Chooser, plan: Plan, drifts: Sequence[Any]) -> Plan:
        values.append(max(check.value for check in drifts if check.failed))
        return tighter(self, plan, drifts)

    monkeypatch.setattr(Chooser, "tighter", spy)
    compress_on_noisy(monkeypatch, [QUIET, QUIET, QUIET, 0.12, QUIET])
    assert 0.1 < values[0] < 0.19
    assert budgets == pytest.approx([budgets[0], 0.985 * 0.1 / values[0] * budgets[0]])


def test_where_no_tighter_plan_helps_the_provider_is_named(
    monkeypatch: pytest.MonkeyPatch, budgets: list[float]
) -> None:
    with pytest.raises(ToleranceError, match=r"nrmse is 0\.\d+ on Noisy, the tolerance is 0\.1, and no"):
        compress_on_noisy(monkeypatch, [*ROUND * 7, QUIET])
    shares = [1, 0.5, 0.25, *(0.25 * 0.85**i for i in range(1, 5)), 0.25 * 0.85**4]
    assert budgets == pytest.approx([share * budgets[0] for share in shares])


def test_best_effort_takes_the_last_of_them(
    monkeypatch: pytest.MonkeyPatch, budgets: list[float]
) -> None:
    """Its exact checks, four sessions more, are made as well."""
    levels = [*ROUND * 7, QUIET, QUIET, QUIET, LOUD, QUIET]
    checks = compress_on_noisy(monkeypatch, levels, best_effort=True).report.checks
    assert [check.provider for check in checks if check.failed] == ["Noisy"]
    assert {check.provider for check in checks if check.kind == "exact"} == {"CPU", "Noisy"}
    assert len(budgets) == 8


def with_decoded(monkeypatch: pytest.MonkeyPatch, change: float) -> onnxzip.Result:
    """Compress a model whose largest weight decodes by a relative `change` of its peak off."""
    decode = exact.decode_weights

    def decode_wrongly(*arguments: Any) -> dict[str, Any]:
        decoded = dict(decode(*arguments))
        name = max(decoded, key=lambda n: decoded[n].size)
        wrong = decoded[name].copy()
        wrong.reshape(-1)[-1] += np.float32(change) * np.abs(wrong).max()
        return {**decoded, name: wrong}

    monkeypatch.setattr(exact, "decode_weights", decode_wrongly)
    return onnxzip.compress(MODEL, passes=("scalar",), level=1)


def test_what_is_decoded_off_is_stated_though_no_output_shows_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The plain reference carries what was decoded: only this comparison sees a wrong decoder."""
    (check,) = [c for c in with_decoded(monkeypatch, 8e-6).report.checks if c.kind == "exact"]
    assert 7e-6 < check.value < 9e-6


@pytest.mark.parametrize("change", [2e-5, float("nan"), float("inf")])
def test_a_weight_decoded_wrongly_is_a_failure(monkeypatch: pytest.MonkeyPatch, change: float) -> None:
    with pytest.raises(VerificationError, match="decodes weights"):
        with_decoded(monkeypatch, change)


def test_deviation_of_decoded_weights() -> None:
    ramp = np.linspace(-4, 2, (1 << 20) + 5, dtype=np.float32)  # more than is compared at once
    for place in (0, 1 << 20, -1):
        wrong = ramp.copy()
        wrong[place] -= 1
        assert _max_deviation(ramp, wrong) == pytest.approx(0.25)
    assert _max_deviation(ramp, ramp) == 0
    assert _max_deviation(np.zeros(3, np.float32), np.full(3, 0.5, np.float32)) == 0.5
    integers = np.arange(3)
    assert _max_deviation(integers, integers) == 0
    assert _max_deviation(integers, integers + 1) == np.inf
