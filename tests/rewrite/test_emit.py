"""Changing a model as planned: payloads, structural passes, weights by name, the emitted graph."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import pytest

from onnxzip import graph
from onnxzip.codec.level import level
from onnxzip.errors import VerificationError
from onnxzip.graph import Model, find_layers, read_model
from onnxzip.graph.writing.loadable import loadable
from onnxzip.measure.metrics.rel_l2 import exact_deviation
from onnxzip.passbase import Editor, GraphPass, Pass
from onnxzip.propose import registry
from onnxzip.prove.decoded_weights import check_decoded, decode_weights
from onnxzip.records.layer import Layer
from onnxzip.records.plan import Candidate, Plan, Rewrite, Skip
from onnxzip.rewrite.emit import Emitted, Emitter, plain_reference
from onnxzip.rewrite.prepare import fold_structure, with_overridable_weights, with_weights
from onnxzip.rewrite.restorer import Restorer
from onnxzip.runtime.session import open_session
from tests.cases import CASES

NAMES = [
    "residual_network",
    "if_nested",
    "function_called_twice",
    "scan_body",
    "float16_conv",
    "float64",
    "tied_embedding",
    "constant_node",
    "ir3_initializers_are_inputs",
    "lstm_bidirectional",
]
LEVELS = (1, 6)


def scalar() -> dict[str, Pass]:
    return {"scalar": registry.passes()["scalar"]()}


@dataclass(frozen=True)
class Work:
    """A model with a plan that quantises every layer."""

    model: Model
    layers: list[Layer]
    plan: Plan
    passes: Mapping[str, Pass]
    restorer: Restorer
    emitted: Emitted


def prepare(name: str, number: int = 1, keeps_names: bool = True) -> Work:
    model = read_model(CASES[name].build())
    layers = [layer for layer in find_layers(model)[0] if layer.weight.dtype.kind == "f"]
    passes, codecs = scalar(), level(number).codecs(layers)
    chosen: dict[str, Candidate] = {}
    for layer in layers:
        offers = passes["scalar"].candidates(layer, codecs[layer.name])
        ladder = [offer for offer in offers if isinstance(offer, Candidate)]
        if ladder:
            chosen[layer.name] = ladder[len(ladder) // 2].released()
    plan = Plan(chosen, 0.1, sum(c.n_bytes for c in chosen.values()), 0.1)
    restorer = Restorer(passes, codecs)
    emit = level(number).emit
    emitted = Emitter(model, passes, restorer, emit, keeps_names).emit(plan)
    return Work(model, layers, plan, passes, restorer, emitted)


def outputs(model: Model, name: str) -> list[dict[str, np.ndarray]]:
    with open_session(loadable(model), optimisation="off") as session:
        return [session.run(CASES[name].feeds(seed)) for seed in (0, 1)]


@pytest.mark.parametrize("number", LEVELS)
@pytest.mark.parametrize("name", NAMES)
def test_emitted_is_the_model_with_restored_weights(name: str, number: int) -> None:
    """The heart of the product: what is emitted computes what numpy says the plan means."""
    work = prepare(name, number)
    decoded = decode_weights(work.emitted.model, work.emitted.n_nodes)
    assert check_decoded(work.emitted, work.plan, decoded, work.restorer) <= 1e-6
    restored = {n: work.restorer.restore(c) for n, c in work.plan.chosen.items()}
    for layer in work.layers:
        if layer.name in restored:
            assert restored[layer.name].shape == layer.weight.shape
            assert restored[layer.name].dtype == layer.weight.dtype
            assert not np.array_equal(restored[layer.name], layer.weight)
    plain = with_weights(work.model, work.layers, restored)
    found, expected = outputs(work.emitted.model, name), outputs(plain, name)
    assert exact_deviation(expected, found).value <= 1e-6
    assert exact_deviation(outputs(work.model, name), found).value > 1e-5, "nothing was changed"


@pytest.mark.parametrize("keeps_names", [True, False])
@pytest.mark.parametrize("name", NAMES)
def test_two_ways_to_the_plain_model(name: str, keeps_names: bool) -> None:
    """Decode nodes replaced by their results, or decoded weights put into the original: the same."""
    work = prepare(name, 1, keeps_names)
    decoded = decode_weights(work.emitted.model, work.emitted.n_nodes)
    stripped = graph.with_plain_weights(work.emitted.model, work.emitted.n_nodes, decoded)
    filled, stored = plain_reference(work.model, work.emitted, work.plan, decoded)
    assert exact_deviation(outputs(stripped, name), outputs(filled, name)).value == 0
    initializers = {t.name for t in filled.proto.graph.initializer}
    assert len(stored) == len(work.plan.chosen)
    assert set(stored.values()) <= initializers
    assert set(stored) <= set(graph.decoded_names(work.emitted.model, work.emitted.n_nodes))
    assert not graph.is_marked(stripped)
    assert (
        len(stripped.proto.graph.node) == len(work.emitted.model.proto.graph.node) - work.emitted.n_nodes
    )


@pytest.mark.parametrize("name", NAMES)
def test_the_model_handed_in_is_not_changed(name: str) -> None:
    work = prepare(name)
    original = read_model(CASES[name].build())
    assert work.model.serialized() == original.serialized()
    for key, array in original.arrays.items():
        np.testing.assert_array_equal(work.model.arrays[key], array)


@pytest.mark.parametrize("name", NAMES)
def test_weights_as_optional_inputs(name: str) -> None:
    """Fed with nothing it is the original, fed with other weights the model that carries them."""
    work = prepare(name)
    restored = {n: work.restorer.restore(c) for n, c in work.plan.chosen.items()}
    model, homes = with_overridable_weights(work.model, work.layers)
    with open_session(loadable(model)) as session:
        feeds = CASES[name].feeds(0)
        untouched = session.run(feeds)
        changed = session.run({**feeds, **{homes[n]: array for n, array in restored.items()}})
    expected = outputs(with_weights(work.model, work.layers, restored), name)[0]
    limit = 2e-3 if name == "float16_conv" else 1e-5
    assert exact_deviation([outputs(work.model, name)[0]], [untouched]).value <= limit
    assert exact_deviation([expected], [changed]).value <= limit


def test_wrong_decoding_is_noticed() -> None:
    """A weight that decodes to other numbers, another shape, or not at all, fails the proof."""
    work = prepare("residual_network")
    decoded = decode_weights(work.emitted.model, work.emitted.n_nodes)
    first = next(iter(work.plan.chosen))
    home = work.emitted.homes[first]
    off = {**decoded, home: decoded[home] + np.float32(1e-3) * np.abs(decoded[home]).max()}
    assert check_decoded(work.emitted, work.plan, off, work.restorer) == pytest.approx(1e-3, rel=0.01)
    wrong = {**decoded, home: decoded[home].ravel()}
    with pytest.raises(VerificationError, match=f"'{first}'"):
        check_decoded(work.emitted, work.plan, wrong, work.restorer)
    lost = replace(work.emitted, homes={**work.emitted.homes, first: "nowhere"})
    with pytest.raises(VerificationError, match=f"'{first}'"):
        check_decoded(lost, work.plan, {**decoded, "nowhere": decoded[home]}, work.restorer)


def test_payloads_are_kept_until_forgotten() -> None:
    """A candidate of the latest plan is encoded once; other settings are encoded anew."""
    work = prepare("residual_network")
    name, candidate = next(iter(work.plan.chosen.items()))
    assert candidate.encoded is None
    first = work.restorer.encode(candidate)
    assert work.restorer.encode(candidate) is first
    assert first.encoded is not None
    other = replace(candidate, settings={**candidate.settings, "rate": 1})
    assert work.restorer.encode(other) is not first
    work.restorer.encode(candidate)
    work.restorer.forget()
    again = work.restorer.encode(candidate)
    assert again is not first
    assert again.encoded is not None
    for key, coefficients in first.encoded.coefficients.items():
        np.testing.assert_array_equal(coefficients.integers, again.encoded.coefficients[key].integers)
    assert name == again.layer.name


class Relabel(GraphPass):
    """A structural pass that removes one Relu's node: harmful, to see that it works on a copy."""

    name: ClassVar[str] = "relabel"

    def rewrite(self, editor: Editor) -> Iterator[Rewrite | Skip]:
        for node in editor.nodes():
            if node.op_type == "Relu":
                editor.redirect(node.outputs[0], node.inputs[0])
                editor.remove(node)
                yield Rewrite(self.name, node.name, "removed")
                return
            yield Skip(node.name, self.name, "no Relu")


def test_structural_passes_work_on_a_copy() -> None:
    model = read_model(CASES["two_layer_perceptron"].build())
    before = model.serialized()
    folded, rewrites, skips = fold_structure(model, [Relabel()])
    assert model.serialized() == before
    assert [r.description for r in rewrites] == ["removed"]
    assert len(folded.proto.graph.node) == len(model.proto.graph.node) - 1
    assert all(isinstance(skip, Skip) for skip in skips)
    assert fold_structure(model, [])[1:] == ([], [])
