"""What -1 ... -9 mean: how coefficients are quantised, and how the graph decodes them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from onnxzip.codec.coding.packed import MIN_OF_TWO_BYTES
from onnxzip.codec.emit.coded import emit_coded
from onnxzip.codec.emit.packed import emit_packed
from onnxzip.codec.fixed_rate import LARGE_RATES, FixedRate
from onnxzip.codec.gain import CODED_LOAD_BYTES, saved_bytes
from onnxzip.codec.variable_rate import BIT_PRICE, VariableRate
from onnxzip.errors import UsageError
from onnxzip.passbase import Builder, Codec
from onnxzip.records.layer import Layer
from onnxzip.records.payload import Stored
from onnxzip.transforms.moves import Moves

DEFAULT_LEVEL = 6
"""As gzip and zlib have it (https://zlib.net/manual.html)."""

FIRST_CODED_LEVEL = 4
"""Levels 1, 2 and 3 pack; coding grows from 4 on (_MAX_CODED_WEIGHTS)."""

_MAX_CODED_WEIGHTS = {4: 1_000_000, 5: 2_000_000, 6: 4_000_000, 7: 8_000_000, 8: 16_000_000}
"""Weights that are entropy coded whatever that saves, by level: each takes 30 to 60 bytes while a
session is created (`python -m tests.bench.loading`)."""

_LOAD_BYTES_PER_SAVED_BYTE = {7: 500.0, 8: 1000.0}
"""Memory at load that a byte less in the file is worth beyond that, by level. Heavy-tailed weights save
0.12 to 0.18 bytes each by coding, Gaussian ones 0.07 (`gain.saved_bytes`); at 9 all are coded."""

_LEAST_PACKED, _MOST_CODED = 15.0, 80.0
"""Memory at load, in bytes a weight, of packed weights at best and of coded ones in small models, about
(`python -m tests.bench.loading`): what is promised is measured in the end."""

_LEAST_SHARE = 1 / 4
"""Share of a model's weights below which none is coded. Coding the smallest layers up to a quarter or so
saves 4.9, 0 and 3.4 % of digits_autoencoder, digits_attention and digits_gru, all layers 21, 15 and 8 %
(`python -m tests.bench.constants onnxzip.codec.level:_MAX_CODED_WEIGHTS '{6: 4_000_000}' '{6: 30_000}'
'{6: 15_000}' --calibration none`)."""


@dataclass(frozen=True)
class Level:
    """A trade of file size against load time and memory.

    Attributes:
        number: 1 ... 9.
        emit: emits the decoders of all coefficients and integers of a model.
        renames: whether internal names are shortened, doc strings dropped, and small tensors rounded.
        max_coded_weights: how many weights may be entropy coded in any case; None for all.
        load_bytes_per_saved_byte: what coding may take at load for others.
    """

    number: int
    emit: Callable[[Sequence[Stored], Builder, Sequence[Moves]], list[str]]
    renames: bool
    max_coded_weights: int | None
    load_bytes_per_saved_byte: float = 0.0

    def codecs(self, layers: Sequence[Layer], load_memory: int | None = None) -> dict[str, Codec]:
        """Return each layer's codec: the smallest layers are entropy coded, up to the level's limit.

        Packed weights decode in a third of the memory, and the largest layers need it most: beyond the
        limit those are coded that save enough by it. Where less than a quarter of the weights are below
        the limit, all have to.

        Args:
            layers: all of the model.
            load_memory: bytes that decoding may add at load; then as many are coded as that allows.
        """
        codecs: dict[str, Codec] = {}
        n_weights = sum(layer.weight.size for layer in layers)
        limit = n_weights if self.max_coded_weights is None else self.max_coded_weights
        if limit < _LEAST_SHARE * n_weights:
            limit = 0
        if load_memory is not None and self.number >= FIRST_CODED_LEVEL:
            limit = int(max(0, load_memory - _LEAST_PACKED * n_weights) / (_MOST_CODED - _LEAST_PACKED))
        # With calibration data passes without feedback did not gain by it (vgg8: 54x instead of 63x).
        is_measured = any(layer.statistics is not None for layer in layers)
        coder = VariableRate(plain_bit_price=0.0 if is_measured else BIT_PRICE)
        n_sharing = max(len(layers), 1)
        packer = FixedRate(n_sharing=n_sharing)
        large_packer = FixedRate(LARGE_RATES, n_sharing=n_sharing)
        n_coded = 0
        for layer in sorted(layers, key=lambda layer: (layer.weight.size, layer.name)):
            n_coded += layer.weight.size
            pack = large_packer if layer.weight.size >= MIN_OF_TWO_BYTES else packer
            pays = load_memory is None and self._pays(layer)
            codecs[layer.name] = coder if n_coded <= limit or pays else pack
        return codecs

    def _pays(self, layer: Layer) -> bool:
        """Whether coding a layer saves enough for the memory that it takes."""
        if not self.load_bytes_per_saved_byte:
            return False
        return saved_bytes(layer.weight) * self.load_bytes_per_saved_byte >= CODED_LOAD_BYTES


def packing(level: Level) -> Level:
    """Return a level that entropy codes nothing: what decodes needs no operator younger than opset 7."""
    return replace(level, emit=emit_packed, max_coded_weights=0, load_bytes_per_saved_byte=0.0)


def level(number: int) -> Level:
    """Return a level: 1 to 3 pack at fixed rates, 4 to 9 entropy code more and more weights.

    Raises:
        UsageError: there is no such level.
    """
    if not 1 <= number <= 9:
        raise UsageError(f"there is no level {number}; the levels are 1 (fast) to 9 (small)")
    if number < FIRST_CODED_LEVEL:
        return Level(number, emit_packed, renames=False, max_coded_weights=0)
    renames = number >= DEFAULT_LEVEL
    price = _LOAD_BYTES_PER_SAVED_BYTE.get(number, 0.0)
    return Level(number, emit_coded, renames, _MAX_CODED_WEIGHTS.get(number), price)
