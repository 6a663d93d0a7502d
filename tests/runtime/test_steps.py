"""Models that are run one after the other: what they are fed, and what is forgotten."""

from __future__ import annotations

import weakref
from collections.abc import Iterable

import ml_dtypes
import numpy as np
import pytest

from onnxzip.errors import ModelError
from onnxzip.records.aliases import Array, Feeds
from onnxzip.runtime import survival
from onnxzip.runtime.loadable import LoadableModel
from onnxzip.runtime.outputs import Outputs
from onnxzip.runtime.survival import Step, run_steps

FLOAT32 = np.dtype(np.float32)


def step(
    fed: Iterable[str] = (),
    given: Iterable[str] = (),
    kept: Iterable[str] = (),
    spent: Iterable[str] = (),
) -> Step:
    outputs = (*given, *kept)
    return Step(
        source=LoadableModel(b",".join(name.encode() for name in outputs), "m.onnx"),
        fed=tuple(fed),
        shapes=dict.fromkeys(outputs, (3,)),
        given=dict.fromkeys(given, FLOAT32),
        kept=tuple(kept),
        spent=tuple(spent),
    )


@pytest.fixture
def alive(monkeypatch: pytest.MonkeyPatch) -> list[set[str]]:
    """Return what of earlier steps is alive when each of them begins."""
    made: dict[str, weakref.ref[Array]] = {}
    found: list[set[str]] = []

    def run_once(source: LoadableModel, feeds: Feeds) -> Outputs:
        found.append({name for name, array in made.items() if array() is not None})
        assert isinstance(source.content, bytes)
        outputs = {name: np.ones(3, np.float32) for name in source.content.decode().split(",")}
        made.update({name: weakref.ref(array) for name, array in outputs.items()})
        return outputs

    monkeypatch.setattr(survival, "_run_once", run_once)
    return found


def test_what_was_given_or_is_spent_is_forgotten(alive: list[set[str]]) -> None:
    steps = [
        step(given=["w0"], kept=["a", "b"]),
        step(fed=["a"], given=["w1"], spent=["a"]),
        step(fed=["b"], given=["w2"], kept=["c"]),
        step(fed=["b", "c"], given=["w3"], spent=["b", "c"]),
        step(given=["w4"]),
    ]
    assert list(map(list, run_steps(steps))) == [["w0"], ["w1"], ["w2"], ["w3"], ["w4"]]
    assert alive == [set(), {"a", "b"}, {"b"}, {"b", "c"}, set()]


def test_what_is_given_may_be_fed_as_well(alive: list[set[str]]) -> None:
    steps = [
        step(given=["w0"], kept=["w0"]),
        step(fed=["w0"], given=["w1"], spent=["w0"]),
        step(given=["z"]),
    ]
    assert list(map(list, run_steps(steps))) == [["w0"], ["w1"], ["z"]]
    assert alive == [set(), {"w0"}, set()]


def test_bytes_are_those_of_the_type_that_is_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    """That is bfloat16, which onnxruntime's Python interface gives as float32."""
    values = np.array([[1.5, -2.0]], np.float32)
    monkeypatch.setattr(survival, "_run_once", lambda source, feeds: {"w": values})
    kind = np.dtype(ml_dtypes.bfloat16)
    wide = Step(LoadableModel(b""), (), {"w": (1, 2)}, {"w": kind}, (), ())
    (found,) = run_steps([wide])
    assert found["w"].tobytes() == values.astype(kind).tobytes()


def test_another_shape_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(survival, "_run_once", lambda source, feeds: {"w": np.ones(4, np.float32)})
    with pytest.raises(ModelError, match=r"^m\.onnx: makes 'w' of shape \[4\] instead of \[3\]; get"):
        list(run_steps([step(given=["w"])]))
