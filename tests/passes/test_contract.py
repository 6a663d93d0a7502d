"""One contract for every pass: its ladder, its numpy decoder and its graph agree on every example."""

from __future__ import annotations

import importlib
import inspect
import math
import pkgutil
from collections.abc import Iterator
from dataclasses import fields, is_dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import onnxzip.passes
import pytest
from onnxzip.passes._columns import (
    emit_from_columns,
    from_columns,
    has_kernel_basis,
    restore_columns,
    to_columns,
)

from onnxzip.passbase import NODE_OVERHEAD_BYTES, Pass, relative_error
from onnxzip.records.aliases import Array
from onnxzip.records.layer import Layer, Layout, Statistics
from onnxzip.records.payload import Encoded
from onnxzip.records.plan import Candidate, Skip
from tests.fakes import FakeBuilder, FakeCodec, assert_same_payload, is_close, run

CODEC = FakeCodec()
LEVELS = (ort.GraphOptimizationLevel.ORT_DISABLE_ALL, ort.GraphOptimizationLevel.ORT_ENABLE_ALL)


def find_passes() -> Iterator[Pass]:
    """Yield every Pass defined in a module of onnxzip.passes, with its default settings."""
    for info in pkgutil.iter_modules(onnxzip.passes.__path__):
        module = importlib.import_module(f"onnxzip.passes.{info.name}")
        for _, cls in inspect.getmembers(module, inspect.isclass):
            if issubclass(cls, Pass) and cls.__module__ == module.__name__ and "float" in cls.kinds:
                yield cls()  # tests/passes/test_lossless.py holds integers to equality


def with_variants(found: tuple[Pass, ...]) -> tuple[Pass, ...]:
    """Add settings that take other paths than the defaults do."""
    by_name = {p.name: p for p in found}
    variants = [
        replace(by_name["dct"], block=5, truncation=0.0),
        replace(by_name["wavelet"], wavelet="db2", levels=3, tile=32, threshold="soft"),
        replace(by_name["wavelet"], wavelet="bior2.2", levels=1, tile=13, threshold="none"),
    ]
    return (*found, *variants)


PASSES = with_variants(tuple(find_passes()))
NAMES = [f"{p.name}{i}" if p != type(p)() else p.name for i, p in enumerate(PASSES)]


def with_statistics(layer: Layer) -> Layer:
    """Return the layer with the moment of inputs that are correlated, as those of real layers are."""
    _, _, n_inner, spatial = layer.sizes
    n_columns = n_inner * int(np.prod(spatial))
    rng = np.random.default_rng(n_columns)
    inputs = rng.standard_normal((4 * n_columns, n_columns)) @ rng.standard_normal(
        (n_columns, n_columns)
    )
    moment = inputs.T @ inputs / len(inputs) + 0.01 * n_columns * np.eye(n_columns)
    return replace(
        layer, name=f"{layer.name}_seen", statistics=Statistics(moment.astype(np.float32), 99)
    )


STATISTICAL = ("scalar", "dct", "wavelet", "codebook", "lowrank")


def with_spatial_statistics(layer: Layer) -> Layer:
    """Return the layer with the moment of its kernels' positions, the same in every channel."""
    _, _, n_inner, spatial = layer.sizes
    places = np.stack(np.meshgrid(*(np.arange(n) for n in spatial), indexing="ij"), axis=-1)
    places = places.reshape(-1, len(spatial))
    moment = 0.7 ** np.abs(places[:, None] - places).sum(axis=2) + 0.1 * np.eye(len(places))
    known = Statistics(moment.astype(np.float32), 99, n_inner)
    return replace(layer, name=f"{layer.name}_smooth", statistics=known)


CASES = [
    pytest.param(p, layer, id=f"{name}-{layer.name}")
    for p, name in zip(PASSES, NAMES, strict=True)
    for layer in (
        *p.examples,
        *(with_statistics(la) for la in p.examples if p.name in STATISTICAL),
        *(with_spatial_statistics(la) for la in p.examples if p.name in STATISTICAL and la.sizes[3]),
    )
]


def layer_of(weight: Array) -> Layer:
    return Layer("edge", "", weight, Layout((), (0,), (1,), tuple(range(2, weight.ndim))))


@cache
def offers(compression: Pass, layer: Layer) -> tuple[Candidate | Skip, ...]:
    return tuple(compression.candidates(layer, CODEC))


def candidates_of(compression: Pass, layer: Layer) -> list[Candidate]:
    return [offer for offer in offers(compression, layer) if isinstance(offer, Candidate)]


def assert_well_formed(encoded: Encoded) -> None:
    for coefficients in encoded.coefficients.values():
        assert coefficients.integers.ndim == 2
        assert coefficients.integers.dtype == np.int32
    for integers in encoded.integers.values():
        assert integers.ndim == 2
        assert integers.dtype == np.int32


def test_passes_are_found_with_their_file_names() -> None:
    assert {"scalar", "dct", "wavelet", "keep"} <= {p.name for p in PASSES}
    for compression in PASSES:
        assert type(compression).__module__ == f"onnxzip.passes.{compression.name}"
        assert compression.examples, f"{compression.name} has no examples"


@pytest.mark.parametrize("compression", PASSES, ids=NAMES)
def test_pass_is_a_frozen_dataclass_of_scalar_options(compression: Pass) -> None:
    assert is_dataclass(compression)
    assert compression == replace(compression)
    assert hash(compression) == hash(replace(compression))
    type(compression)()  # every option has a default
    for option in fields(compression):
        value = getattr(compression, option.name)
        items = value if isinstance(value, tuple) else (value,)
        assert all(isinstance(item, bool | int | float | str) for item in items)


@pytest.mark.parametrize("compression", PASSES, ids=NAMES)
def test_what_it_does_is_shown_by_an_example(compression: Pass) -> None:
    assert any(candidates_of(compression, layer) for layer in compression.examples)


@pytest.mark.parametrize(("compression", "layer"), CASES)
def test_ladder(compression: Pass, layer: Layer) -> None:
    offered = offers(compression, layer)
    assert offered, "neither a candidate nor a reason"
    for offer in offered:
        assert offer.pass_name == compression.name
        if isinstance(offer, Skip):
            assert offer.layer == layer.name
            assert len(offer.reason) > 10
            continue
        assert offer.layer is layer
        assert offer.encoded is not None
        assert_well_formed(offer.encoded)
        assert math.isfinite(offer.error)
        assert offer.error >= 0
        assert all(isinstance(v, bool | int | float | str) for v in offer.settings.values())
        assert all(type(v).__module__ == "builtins" for v in offer.settings.values())
    candidates = candidates_of(compression, layer)
    sizes = [c.n_bytes for c in candidates]
    assert sizes == sorted(sizes)
    assert all(isinstance(size, int) and size > 0 for size in sizes)
    settings = [tuple(c.settings.items()) for c in candidates]
    assert len(settings) == len(set(settings)), "two candidates have the same settings"


@pytest.mark.parametrize(("compression", "layer"), CASES)
def test_price_counts_payload_and_nodes(compression: Pass, layer: Layer) -> None:
    for candidate in candidates_of(compression, layer):
        assert candidate.encoded is not None
        assert candidate.n_bytes >= CODEC.n_bytes(candidate.encoded)


@pytest.mark.parametrize(("compression", "layer"), CASES)
def test_encode_repeats_the_payload(compression: Pass, layer: Layer) -> None:
    for candidate in candidates_of(compression, layer):
        again = compression.encode(layer, candidate.settings, CODEC)
        assert candidate.encoded is not None
        assert_same_payload(candidate.encoded, again)


@pytest.mark.parametrize(("compression", "layer"), CASES)
def test_restore_has_the_stated_error(compression: Pass, layer: Layer) -> None:
    for candidate in candidates_of(compression, layer):
        restored = compression.restore(candidate)
        assert restored.shape == layer.canonical_shape
        assert restored.dtype == np.float32
        assert relative_error(layer.canonical(), restored) == pytest.approx(
            candidate.error, rel=1e-3, abs=1e-4
        )


@pytest.mark.parametrize("compression", PASSES, ids=NAMES)
def test_released_candidate_is_refused(compression: Pass) -> None:
    if compression.name == "keep":
        pytest.skip("has no payload")
    candidate = next(c for layer in compression.examples for c in candidates_of(compression, layer))
    with pytest.raises(ValueError, match="payload"):
        compression.restore(candidate.released())


@pytest.mark.parametrize(("compression", "layer"), CASES)
def test_graph_decodes_to_restore(compression: Pass, layer: Layer) -> None:
    for candidate in _ends(candidates_of(compression, layer)):
        if compression.name == "keep":
            continue
        expected = layer.from_canonical(compression.restore(candidate))
        for opset in (11, 17):
            builder = FakeBuilder(layer, opset)
            compression.emit(candidate, builder)
            assert candidate.encoded is not None
            nodes_bytes = NODE_OVERHEAD_BYTES * builder.n_decode_nodes
            assert candidate.n_bytes >= CODEC.n_bytes(candidate.encoded) + nodes_bytes
            feeds = {"one": np.ones(1, layer.weight.dtype)}
            for level in LEVELS:
                assert is_close(run(builder.weight_model(), feeds, level)["output"], expected)


@pytest.mark.parametrize(("compression", "layer"), CASES)
def test_graph_declares_its_shapes_and_folds(compression: Pass, layer: Layer, tmp_path: Path) -> None:
    for candidate in _ends(candidates_of(compression, layer)):
        if compression.name == "keep":
            continue
        builder = FakeBuilder(layer)
        compression.emit(candidate, builder)
        feeds = {"one": np.ones(1, layer.weight.dtype)}
        values = run(builder.weight_model(all_values=True), feeds, LEVELS[0])
        for name, (shape, dtype) in builder.declared.items():
            assert (values[name].shape, values[name].dtype) == (shape, np.dtype(dtype)), name
        path = tmp_path / "folded.onnx"
        run(builder.weight_model(), feeds, ort.GraphOptimizationLevel.ORT_ENABLE_BASIC, str(path))
        left = {node.op_type for node in onnx.load(path).graph.node}
        # onnxruntime's CPU multiplies float16 in float32, between Casts of its own
        assert left == ({"Mul"} if layer.weight.dtype == np.float32 else {"Mul", "Cast"})


@pytest.mark.parametrize(("option", "value"), [("threshold", "firm"), ("wavelet", "morl")])
def test_wavelet_names_the_setting_it_refuses(option: str, value: str) -> None:
    with pytest.raises(ValueError, match=value):
        replace(PASSES[NAMES.index("wavelet")], **{option: value})


EDGES = {
    "tiny": np.ones((2, 3), np.float32),
    "empty": np.zeros((0, 3), np.float32),
    "zeros": np.zeros((32, 16, 3, 3), np.float32),
    "constant": np.full((40, 30), 0.25, np.float32),
    "one_row": np.linspace(-1, 1, 600, dtype=np.float32).reshape(1, 600),
    "one_column": np.linspace(-1, 1, 600, dtype=np.float32).reshape(600, 1),
    "prime": np.random.default_rng(1).standard_normal((31, 37)).astype(np.float32),
    "spike": np.pad(np.full((1, 1), 1e4, np.float32), ((0, 63), (0, 63))),
}


@pytest.mark.parametrize("edge", EDGES)
@pytest.mark.parametrize("compression", PASSES, ids=NAMES)
def test_edges_are_refused_or_done_right(compression: Pass, edge: str) -> None:
    layer = layer_of(EDGES[edge])
    offered = offers(compression, layer)
    assert offered
    for candidate in _ends(candidates_of(compression, layer)):
        restored = compression.restore(candidate)
        assert np.isfinite(restored).all()
        assert math.isfinite(candidate.error)
        assert relative_error(layer.canonical(), restored) == pytest.approx(
            candidate.error, rel=1e-3, abs=1e-4
        )
        if compression.name != "keep":
            builder = FakeBuilder(layer)
            compression.emit(candidate, builder)
            output = run(builder.weight_model(), {"one": np.ones(1, np.float32)})["output"]
            assert is_close(output, layer.from_canonical(restored))


def _ends(ladder: list[Candidate]) -> list[Candidate]:
    """The first, a middle and the last rung, and one of each set of payload keys."""
    if not ladder:
        return []
    picked = {0, len(ladder) // 2, len(ladder) - 1}
    seen: set[tuple[str, ...]] = set()
    for index, candidate in enumerate(ladder):
        assert candidate.encoded is not None
        keys = (*candidate.encoded.coefficients, *candidate.encoded.integers, *candidate.encoded.tables)
        if keys not in seen:
            seen.add(keys)
            picked.add(index)
    return [ladder[index] for index in sorted(picked)]


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((2, 9, 3, 3), True),
        ((1, 17, 3, 3), False),
        ((4, 8, 1, 1), False),
        ((16, 3), False),
        ((4, 2, 2), True),
    ],
)
def test_a_basis_has_to_be_small_beside_the_kernels(shape: tuple[int, ...], expected: bool) -> None:
    """Its k^2 numbers are at most half of the weight's."""
    assert has_kernel_basis(layer_of(np.zeros(shape, np.float32))) == expected


@pytest.mark.parametrize("k", [1, 2, 3, 7])
def test_columns_hold_the_coefficients_of_neighbours(k: int) -> None:
    """By position and then by group; the last group is filled up with the last column."""
    rng = np.random.default_rng(k)
    layer = layer_of(rng.standard_normal((4, 7)).astype(np.float32))
    basis = np.linalg.qr(rng.standard_normal((k, k)))[0].astype(np.float32)
    twice = 2 * basis  # no longer orthogonal: analysis is its inverse transposed
    n_groups = -(-7 // k)
    filled = layer.weight[:, np.minimum(np.arange(k * n_groups), 6)]
    expected = [
        [filled[row, k * g : k * g + k] @ basis[i] for row in range(4)]
        for i in range(k)
        for g in range(n_groups)
    ]
    columns = to_columns(layer, basis)
    np.testing.assert_allclose(columns, expected, atol=1e-5)
    np.testing.assert_allclose(to_columns(layer, twice, basis / 2), columns / 2, atol=1e-5)
    np.testing.assert_allclose(from_columns(columns, basis), filled, atol=1e-5)
    restored = restore_columns(layer, columns / 2, twice)
    np.testing.assert_allclose(restored, layer.canonical(), atol=1e-5)
    builder = FakeBuilder(layer)
    emit_from_columns(layer, builder.constant(columns), basis, builder)
    output = run(builder.weight_model(), {"one": np.ones(1, np.float32)})["output"]
    np.testing.assert_allclose(output, layer.weight, atol=1e-5)
