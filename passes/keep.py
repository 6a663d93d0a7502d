"""Leave a weight as it is, so that not touching it is a candidate like any other."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from onnxzip.passbase import Builder, Codec, Pass
from onnxzip.records.aliases import Scalar
from onnxzip.records.layer import Layer
from onnxzip.records.payload import Encoded
from onnxzip.records.plan import Candidate, Skip

from ._examples import example_layers


@dataclass(frozen=True)
class Keep(Pass):
    """Keep the weight: no error, no saving."""

    name: ClassVar[str] = "keep"
    examples: ClassVar[tuple[Layer, ...]] = example_layers()

    def candidates(self, layer: Layer, codec: Codec) -> Iterator[Candidate | Skip]:
        """Offer the weight as it is."""
        yield Candidate(layer, self.name, {}, layer.n_bytes, 0.0, Encoded())

    def encode(self, layer: Layer, settings: Mapping[str, Scalar], codec: Codec) -> Encoded:
        """Return an empty payload: the weight stays where it is."""
        return Encoded()

    def restore(self, candidate: Candidate) -> NDArray[np.float32]:
        """Return the weight itself."""
        return candidate.layer.canonical()

    def emit(self, candidate: Candidate, builder: Builder) -> None:
        """Emit nothing."""
