"""Which chains may stand for a layer's node: methods and ranks, and what their factors lose."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from onnxzip.records.aliases import RunForm, Scalar
from onnxzip.records.layer import Layer
from onnxzip.transforms.chains import Chain, Stage, relative_macs, stages, whole
from onnxzip.transforms.factorisation import Kernel, Method, with_equal_components

NAME = "factorise"
"""What rewrites and refusals are reported under."""

MAX_ERROR = 0.3
"""Relative error of a layer's outputs that no plan affords: a single layer of vgg8 with it moves the
model's outputs by 0.15 to 0.4 of what varies in them."""

_SHARES = (1 / 16, 1 / 8, 3 / 16, 1 / 4, 3 / 8, 1 / 2, 5 / 8)
"""Of the directions that there are: at 5/8 chains take 0.8 to 0.95 of the node's time with AVX-512, in
float32 as in int8 (onnxruntime 1.32, kernels of 3x3 on 64 to 256 channels)."""

_MULTIPLE = 16
"""Ranks are multiples of it: with AVX-512 channels are blocked by 16 in float32 and int8; 24 take as
long as 32, and 8 longer than 16 (64x64x3x3 on 16x16: 0.62 and 0.46 of the node's time in int8)."""

_MOST_MACS = 0.85
"""Share of the node's multiply-accumulates beyond which no chain was faster: it runs more kernels."""


_MOST_NUMBERS = 0.3
"""Share of the weight's numbers that factors may have: errors of each are multiplied by the other, so
that they take two to four times the bits a number (vgg8: 2 to 5 bits instead of 0.6 to 1.3)."""


@dataclass(frozen=True)
class Option:
    """A way to factorise: a method and its ranks.

    Attributes:
        rank: components; of Tucker-2 output directions.
        rank_in: input directions of Tucker-2, else 0.
    """

    method: Method
    rank: int
    rank_in: int = 0

    @property
    def settings(self) -> Mapping[str, Scalar]:
        """What `chains.stages` takes."""
        return {"method": self.method, "rank": self.rank, "rank_in": self.rank_in}

    def stages(self, layer: Layer) -> tuple[Stage, ...]:
        """Return the chain's stages for a layer."""
        return stages(layer, self.settings)

    def n_numbers(self, layer: Layer) -> int:
        """Return how many numbers the factors have."""
        return sum(math.prod(stage.shape) for stage in self.stages(layer))

    def described(self, layer: Layer) -> str:
        """Return the shapes of the weights, "16x64x1x1, 64x16x3x3"."""
        return ", ".join("x".join(map(str, stage.shape)) for stage in self.stages(layer))


def options_for(layer: Layer) -> list[Option]:
    """Return the options that run fewer operations than the layer's node, and take no more bytes."""
    _, n_out, n_in, kernel = layer.sizes
    n_taps = int(np.prod(kernel))
    found: dict[Option, None] = {}
    for share in _SHARES:
        rank_out, rank_in = _rank(share, min(n_out, n_in * n_taps)), _rank(share, n_in)
        found[Option("out", rank_out)] = None
        if n_taps > 1:
            found[Option("in", rank_in)] = None
            found[Option("tucker", _rank(share, n_out), rank_in)] = None
        if len(kernel) > 1 and kernel[0] > 1 and n_taps > kernel[0]:
            found[Option("spatial", _rank(share, n_out))] = None
    most = _MOST_MACS * layer.weight.size
    able = [option for option in found if relative_macs(layer, option.settings) <= most]
    return [option for option in able if option.n_numbers(layer) <= _MOST_NUMBERS * layer.weight.size]


def _rank(share: float, n_directions: int) -> int:
    return max(round(share * n_directions / _MULTIPLE), 1) * _MULTIPLE


def kernel_of(layer: Layer) -> Kernel:
    """Return a layer's weight with what it meets; the layer has statistics of one block."""
    assert layer.statistics is not None
    _, n_out, n_in, taps = layer.sizes
    return Kernel(layer.canonical().reshape(n_out, n_in, *taps), layer.statistics)


def chain_of(layer: Layer, kernel: Kernel, option: Option, form: RunForm) -> Chain:
    """Return the chain with the best factors, scaled for what it computes in."""
    factors = kernel.factors(option.method, option.rank, option.rank_in)
    if form != "float32":
        factors = with_equal_components(factors, kernel.statistics.second_moment)
    return Chain(layer, option.stages(layer), factors)


def sample_chain(layer: Layer, option: Option | None) -> Chain:
    """Return a chain with any factors, which take as long as the best ones; without option the node."""
    rng = np.random.default_rng(0)
    found = (whole(layer),) if option is None else option.stages(layer)
    return Chain(layer, found, tuple(rng.standard_normal(s.shape, np.float32) for s in found))
