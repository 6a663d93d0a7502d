"""Lifting a weight into the main graph changes nothing that can be observed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from onnxzip.graph import find_layers, hoist_weights, read_model, to_proto
from onnxzip.graph.reading.weights import find_weights
from tests.cases import CASES, Case
from tests.graph.running import RUNNABLE, assert_same_behaviour, open_session, run

LIFTABLE = [c for c in RUNNABLE if c.finite and c.n_weights]


@pytest.mark.parametrize("case", LIFTABLE, ids=str)
def test_lifted_models_compute_the_same(case: Case, tmp_path: Path) -> None:
    path = case.write(tmp_path)
    model = read_model(path)
    layers, _ = find_layers(model)
    homes = hoist_weights(model, {layer.name for layer in layers})
    assert set(homes) == {layer.name for layer in layers}
    assert len(set(homes.values())) == len(homes)
    initializers = {t.name for t in model.proto.graph.initializer}
    for layer in layers:
        assert homes[layer.name] in initializers
        np.testing.assert_array_equal(model.arrays[homes[layer.name]], layer.weight)
    assert_same_behaviour(model, path, case)


@pytest.mark.parametrize("case", LIFTABLE, ids=str)
def test_a_lifted_weight_is_read_from_its_new_place(case: Case, tmp_path: Path) -> None:
    """Other values in the initializer give other outputs: no copy of the old ones is left behind."""
    model = read_model(case.write(tmp_path))
    layers, _ = find_layers(model)
    homes = hoist_weights(model, {layer.name for layer in layers})
    for layer in layers:
        rng = np.random.default_rng(1)
        values = rng.uniform(0.25, 0.75, layer.weight.shape).astype(layer.weight.dtype)
        model.arrays[homes[layer.name]] = values
    assert not [w for w in find_weights(model) if w.scope.path and w.uses and w.name in homes], (
        "a hoisted weight is still defined where it was"
    )
    if not layers:
        return
    feeds = [case.feeds(seed) for seed in (0, 1)]
    changed = [run(to_proto(model), feed) for feed in feeds]
    original = [run(case.build(), feed) for feed in feeds]
    outputs = [(a[name], b[name]) for a, b in zip(changed, original, strict=True) for name in a]
    assert any(not np.array_equal(np.asarray(a, object), np.asarray(b, object)) for a, b in outputs)


@pytest.mark.parametrize("name", ["ir3_initializers_are_inputs", "opset_7", "opset_8"])
def test_ir3_weights_stop_being_inputs(name: str) -> None:
    """At IR 3 every initializer is an input; at IR 4 that would make it overridable, so it is none."""
    proto = CASES[name].build()
    assert proto.ir_version == 3
    model = read_model(proto)
    hoist_weights(model, {layer.name for layer in find_layers(model)[0]})
    assert model.proto.ir_version == 4
    fed = [i.name for i in open_session(proto).get_inputs()]
    assert [v.name for v in model.proto.graph.input] == fed
    assert [v.name for v in model.proto.graph.output] == [v.name for v in proto.graph.output]


def test_functions_keep_their_other_inputs_in_place() -> None:
    model = read_model(CASES["function_calls_function"].build())
    before = {f.name: list(f.input) for f in model.proto.functions}
    homes = hoist_weights(model, {layer.name for layer in find_layers(model)[0]})
    for function in model.proto.functions:
        n_before = len(before[function.name])
        assert list(function.input)[:n_before] == before[function.name]
        assert set(function.input[n_before:]) <= set(homes.values())
