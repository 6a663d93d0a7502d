"""Large codebooks of `codebook`: offers, estimates, and the graph that decodes them."""

from dataclasses import replace

import numpy as np
import onnxruntime as ort
import pytest
from onnxzip.passes._codebook_large import RADICES, in_parts, whole_indices
from onnxzip.passes.codebook import CodebookPass

from onnxzip.codec.fixed_rate import FixedRate
from onnxzip.codec.variable_rate import VariableRate
from onnxzip.passbase import relative_error
from onnxzip.propose.offers import collect_offers
from onnxzip.records.layer import Layer, Layout, Statistics
from onnxzip.records.payload import Encoded
from onnxzip.records.plan import Candidate
from tests.fakes import FakeBuilder, run

LEVELS = (ort.GraphOptimizationLevel.ORT_DISABLE_ALL, ort.GraphOptimizationLevel.ORT_ENABLE_ALL)


def layer_of(n_rows: int, n_columns: int, *, is_seen: bool) -> Layer:
    """Return a MatMul's right matrix, of heavy-tailed numbers."""
    rng = np.random.default_rng(n_rows)
    weight = rng.standard_t(5, (n_columns, n_rows)).astype(np.float32)
    layer = Layer("w", "MatMul", weight, Layout((), (1,), (0,), ()))
    if not is_seen:
        return layer
    inputs = rng.standard_normal((2 * n_columns, n_columns)) * np.linspace(0.5, 2, n_columns)
    moment = (inputs.T @ inputs / len(inputs) + 0.05 * np.eye(n_columns)).astype(np.float32)
    return replace(layer, statistics=Statistics(moment, len(inputs)))


def large_offers(layer: Layer) -> list[Candidate]:
    found, _ = collect_offers(layer, {"codebook": CodebookPass()}, FixedRate())
    return [offer for offer in found if int(offer.settings["codewords"]) in RADICES]


@pytest.mark.parametrize("is_seen", [False, True])
@pytest.mark.parametrize("shape", [(256, 257), (257, 256), (250, 263)])
def test_estimates_are_near_what_is_encoded_and_the_graph_decodes_it(
    shape: tuple[int, int], is_seen: bool
) -> None:
    layer, codec, method = layer_of(*shape, is_seen=is_seen), FixedRate(), CodebookPass()
    offers = large_offers(layer)
    assert {int(offer.settings["vector"]) for offer in offers} == {2, 3, 4}
    assert any(offer.is_estimate for offer in offers)
    for offer in offers:
        full = replace(offer, layer=layer, encoded=method.encode(layer, offer.settings, codec))
        restored = method.restore(full)
        if not is_seen:
            assert relative_error(layer.canonical(), restored) == pytest.approx(offer.error, rel=0.12)
        assert full.encoded is not None
        assert 0 < offer.n_bytes - codec.n_bytes(full.encoded) < 4096
        builder = FakeBuilder(layer)
        method.emit(full, builder)
        for level in LEVELS:
            values = run(builder.weight_model(), {"one": np.ones(1, np.float32)}, level)
            np.testing.assert_array_equal(values["output"], layer.from_canonical(restored))


def test_larger_codebooks_take_more_bytes_and_lose_less() -> None:
    offers = sorted(large_offers(layer_of(512, 512, is_seen=False)), key=lambda offer: offer.n_bytes)
    errors = [offer.error for offer in offers if int(offer.settings["vector"]) == 3]
    assert errors == sorted(errors, reverse=True)


def test_there_are_none_where_integers_are_coded_or_weights_are_few() -> None:
    found, _ = collect_offers(
        layer_of(256, 256, is_seen=False), {"codebook": CodebookPass()}, VariableRate()
    )
    assert not any(int(offer.settings["codewords"]) in RADICES for offer in found)
    assert not large_offers(layer_of(100, 120, is_seen=False))


@pytest.mark.parametrize("n_codewords", RADICES)
def test_parts_of_indices_put_together_are_the_indices(n_codewords: int) -> None:
    indices = np.random.default_rng(0).integers(n_codewords, size=(1, 999), dtype=np.int32)
    parts = in_parts(indices, n_codewords)
    for part, radix in zip(parts.values(), RADICES[n_codewords], strict=True):
        assert part.max() < radix
    np.testing.assert_array_equal(whole_indices(Encoded(integers=parts), n_codewords), indices)
