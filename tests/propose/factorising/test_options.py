"""What may stand for a node: ranks that kernels like, and fewer operations."""

from __future__ import annotations

import numpy as np
import pytest

from onnxzip.propose.factorising.options import chain_of, kernel_of, options_for, sample_chain
from onnxzip.records.layer import Layer, Layout, Statistics
from onnxzip.transforms.chains import relative_macs
from onnxzip.transforms.factorisation import product


def layer(op_type: str, *shape: int, strides: tuple[int, ...] = ()) -> Layer:
    rng = np.random.default_rng(0)
    layout = Layout((), (0,), (1,), tuple(range(2, len(shape))))
    attributes = {"strides": strides} if strides else {}
    moment = np.eye(int(np.prod(shape[1:])), dtype=np.float32)
    return Layer(
        *("w", op_type, rng.standard_normal(shape, np.float32), layout, attributes, True),
        statistics=Statistics(moment, 99),
    )


@pytest.mark.parametrize(
    "shape", [(64, 64, 3, 3), (256, 128, 3, 3), (128, 96, 1, 1), (48, 40, 5), (512, 4096)]
)
def test_options_take_fewer_operations_at_ranks_of_whole_blocks(shape: tuple[int, ...]) -> None:
    of_shape = layer("Gemm" if len(shape) == 2 else "Conv", *shape)
    found = options_for(of_shape)
    assert found
    assert len(set(found)) == len(found)
    for option in found:
        assert option.rank % 16 == option.rank_in % 16 == 0
        assert relative_macs(of_shape, option.settings) <= 0.85 * of_shape.weight.size
        sample = sample_chain(of_shape, option)
        assert product(sample.factors).shape == shape
        assert option.described(of_shape).count(",") == len(sample.stages) - 1


def test_what_runs_before_a_stride_counts_in_full() -> None:
    plain = {o for o in options_for(layer("Conv", 256, 256, 3, 3)) if o.method == "in"}
    strided = {o for o in options_for(layer("Conv", 256, 256, 3, 3, strides=(8, 8))) if o.method == "in"}
    assert strided < plain


def test_small_nodes_have_none() -> None:
    assert options_for(layer("Conv", 16, 3, 3, 3)) == []
    assert options_for(layer("Gemm", 10, 64)) == []


def test_in_int8_all_components_are_of_one_size() -> None:
    small = layer("Conv", 64, 64, 3, 3)
    option = next(o for o in options_for(small) if o.method == "out")
    plain, equal = (chain_of(small, kernel_of(small), option, f) for f in ("float32", "int8"))
    np.testing.assert_allclose(product(equal.factors), product(plain.factors), atol=1e-4)
    norms = np.linalg.norm(equal.factors[0].reshape(option.rank, -1), axis=1)
    np.testing.assert_allclose(norms, 1, rtol=1e-4)
