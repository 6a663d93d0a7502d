"""Attempts at a file that loads within the memory allowed."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

import onnxzip
from onnxzip.choose import attempt
from onnxzip.errors import ToleranceError
from onnxzip.options import Options
from tests.cases import CASES


def allowances(
    monkeypatch: pytest.MonkeyPatch, allowed: int | None, needs: list[int], step: int = 10
) -> list[int | None]:
    """Return what is allowed in each attempt, where files need that much.

    A weight more is coded for each `step` bytes that are allowed.
    """
    asked: list[int | None] = []

    def codecs(_: Any, allowance: int) -> dict[str, Any]:
        return {str(i): SimpleNamespace(is_continuous=i * step <= allowance) for i in range(1, 200)}

    proposal = SimpleNamespace(layers=(), level=SimpleNamespace(codecs=codecs))

    def answer(_model: Any, _draft: Any, _subject: Any, options: Options, *_: Any) -> Any:
        asked.append(options.load_memory)
        return SimpleNamespace(load_bytes=needs[len(asked) - 1], proposal=proposal)

    monkeypatch.setattr(attempt, "_attempt", answer)
    nothing: Any = None
    made = attempt.attempt_within(
        nothing, nothing, nothing, Options(load_memory=allowed), nothing, nothing
    )
    assert made.load_bytes == needs[len(asked) - 1]
    return asked


def test_less_is_coded_until_it_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    assert allowances(monkeypatch, None, [9000]) == [None]
    assert allowances(monkeypatch, 1000, [1000]) == [1000]
    assert allowances(monkeypatch, 1000, [1100, 900]) == [1000, 800]
    assert allowances(monkeypatch, 1000, [5000, 2000]) == [
        1000,
        1,
    ]  # nothing is coded, and no less can be
    assert allowances(monkeypatch, 1000, [1010, 1005, 1001, 1001]) == [1000, 980, 970, 1]


def test_each_attempt_codes_other_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    assert allowances(monkeypatch, 1000, [1010, 400], step=900) == [1000, 884]


def test_what_cannot_load_in_less_is_refused() -> None:
    proto = CASES["two_layer_perceptron"].build()
    coded = onnxzip.compress(proto).report.load_bytes
    packed = onnxzip.compress(proto, load_memory=1_000_000, level=1).report.load_bytes
    assert coded is not None
    assert packed is not None
    assert packed < coded - 1
    found = onnxzip.compress(proto, load_memory=coded - 1).report
    assert found.load_bytes is not None
    assert found.load_bytes < coded
    with pytest.raises(ToleranceError, match="nothing is entropy coded"):
        onnxzip.compress(proto, load_memory=packed // 2)
