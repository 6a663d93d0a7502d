"""States: which output becomes which input at the next step, and what running on itself feeds."""

import numpy as np
import pytest

from onnxzip.inputs.generated.states import n_steps_of, pair_states, with_own_states
from onnxzip.runtime.input_spec import InputSpec

F32, I64 = np.dtype("float32"), np.dtype("int64")
X, Y = ("x", ("b", 80)), ("y", ("b", 10))
Port = tuple[str, tuple[int | str | None, ...]]


def specs(*ports: Port, dtype: np.dtype = F32) -> list[InputSpec]:
    return [InputSpec(name, dtype, shape) for name, shape in ports]


CELL: tuple[int | str | None, ...] = (2, "b", 64)
CACHE: tuple[int | str | None, ...] = ("b", 4, "past", 8)
KV = ("key", "value")
LSTM = ("hidden", "cell")
REAL = {
    "silero-vad 5": ([("input", ("b", 512)), ("state", CELL)], [("output", ("b", 1)), ("stateN", CELL)]),
    "silero-vad 4": (
        [("input", ("b", 512)), ("h", CELL), ("c", CELL)],
        [("output", ("b", 1)), ("hn", CELL), ("cn", CELL)],
    ),
    "torch's names": ([X, ("h0", CELL), ("c0", CELL)], [Y, ("hn", CELL), ("cn", CELL)]),
    "outputs the other way round": ([X, ("h", CELL), ("c", CELL)], [Y, ("cn", CELL), ("hn", CELL)]),
    "in and out": (
        [X, ("cache_in", CELL), ("h_in", CELL)],
        [Y, ("cache_out", CELL), ("h_out", CELL)],
    ),
    "optimum": (
        [("input_ids", ("b", "s")), *((f"past_key_values.{i}.{k}", CACHE) for i in (0, 1) for k in KV)],
        [("logits", ("b", "s", 9)), *((f"present.{i}.{k}", CACHE) for i in (0, 1) for k in KV)],
    ),
    "sherpa": (
        [X, *((f"cached_key_{i}", CACHE) for i in range(3))],
        [Y, *((f"new_cached_key_{i}", CACHE) for i in range(3))],
    ),
    "names that say nothing": (
        [("input", ("t", 266)), *((f"state_{i}_{k}_in", (25,)) for i in (1, 2) for k in LSTM)],
        [("output_0", ("d",)), *((f"lstm_{k}_squeeze_{i + 8}", (25,)) for i in (1, 2) for k in LSTM)],
    ),
    "numbers for names, answers first": (
        [X, ("state_1", CELL), ("state_2", CELL)],
        [("11", CELL), ("12", CELL), ("13", CELL)],
    ),
}
EXPECTED = {
    "silero-vad 5": {"state": "stateN"},
    "silero-vad 4": {"h": "hn", "c": "cn"},
    "torch's names": {"h0": "hn", "c0": "cn"},
    "outputs the other way round": {"h": "hn", "c": "cn"},
    "in and out": {"cache_in": "cache_out", "h_in": "h_out"},
    "optimum": {f"past_key_values.{i}.{k}": f"present.{i}.{k}" for i in (0, 1) for k in KV},
    "sherpa": {f"cached_key_{i}": f"new_cached_key_{i}" for i in range(3)},
    "names that say nothing": {
        f"state_{i}_{k}_in": f"lstm_{k}_squeeze_{i + 8}" for i in (1, 2) for k in LSTM
    },
    "numbers for names, answers first": {"state_1": "12", "state_2": "13"},
}


@pytest.mark.parametrize("name", REAL)
def test_states_of_real_models_are_paired(name: str) -> None:
    inputs, outputs = REAL[name]
    assert pair_states(specs(*inputs), specs(*outputs)) == EXPECTED[name]


@pytest.mark.parametrize(
    ("inputs", "outputs"),
    [
        ([("input", ("b", 8))], [("output", ("b", 8))]),  # the ends of everything
        ([("x", ("b", 8))], [("y", ("b", 8))]),
        ([("image_in", (1, 3, 8, 8))], [("mask_out", (1, 3, 8, 8))]),
        ([("state", CELL)], [("stateN", (2, "b", 65))]),
        ([("state", CELL)], [("stateN", (2, "b", 64, 1))]),
        ([("hidden_states", ("b", "s", 64))], [("logits", ("b", 9))]),
        ([("noisy", ("b", "t"))], [("clean", ("b", "t"))]),
    ],
)
def test_what_is_no_state_is_not_paired(inputs: list[Port], outputs: list[Port]) -> None:
    assert pair_states(specs(*inputs), specs(*outputs)) == {}


def test_types_have_to_fit() -> None:
    assert pair_states(specs(("state", CELL)), specs(("stateN", CELL), dtype=I64)) == {}


def test_a_state_without_a_name_that_is_alike_takes_the_free_one() -> None:
    found = pair_states(specs(X, ("hidden", CELL)), specs(Y, ("272", CELL)))
    assert found == {"hidden": "272"}


# Running on itself


def step(feed: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Be a model whose state sums its inputs up."""
    return {"y": feed["x"], "hn": feed["h"] + feed["x"].sum()}


def test_a_run_goes_on_where_the_last_one_ended() -> None:
    feeds = [{"x": np.full(2, 0.5), "h": np.full(3, 99.0)} for _ in range(22)]
    found = with_own_states(feeds, {"h": "hn"}, step)
    starts = [*range(5), *range(5), *range(5), *range(5), *range(2)]
    assert [feed["h"][0] for feed in found] == starts, "a quarter of the runs, then anew"
    assert all((feed["x"] == 0.5).all() for feed in found)
    assert all((feed["h"] == 99).all() for feed in feeds), "what was given stays as it is"


def test_a_quarter_of_the_runs_hand_states_on_and_32_at_most() -> None:
    """So that four sequences begin, of which one can be held out."""
    assert [n_steps_of(n) for n in (1, 3, 4, 22, 127, 128, 10_000)] == [1, 1, 1, 5, 31, 32, 32]


@pytest.mark.parametrize("bad", [np.full(3, np.nan), np.zeros(4)])
def test_a_state_that_is_of_no_use_is_not_handed_on(bad: np.ndarray) -> None:
    """NaN would stay for ever; another shape does not fit."""
    feeds = [{"x": np.ones(1), "h": np.full(3, 99.0)} for _ in range(3)]
    found = with_own_states(feeds, {"h": "hn"}, lambda feed: {"hn": bad})
    assert all((feed["h"] == np.zeros(3)).all() for feed in found)


def test_empty_pasts_stay_empty() -> None:
    feeds = [{"past": np.zeros((1, 4, 0, 8), np.float32)} for _ in range(2)]
    grown = {"present": np.ones((1, 4, 1, 8), np.float32)}
    found = with_own_states(feeds, {"past": "present"}, lambda feed: grown)
    assert [feed["past"].shape for feed in found] == 2 * [(1, 4, 0, 8)]
