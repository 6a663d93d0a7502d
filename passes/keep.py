"""Leave a weight as it is, so that not touching it is a candidate like any other."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from onnxzip.passbase import Builder, Codec, Pass
from onnxzip.records.aliases import Form, Scalar
from onnxzip.records.layer import Layer
from onnxzip.records.payload import Encoded
from onnxzip.records.plan import Candidate, Skip

from ._examples import example_layers


@dataclass(frozen=True)
class Keep(Pass):
    """Keep the weight: no error, no saving."""

    name: ClassVar[str] = "keep"
    examples: ClassVar[tuple[Layer, ...]] = example_layers()

    def candidates(
        self, layer: Layer, codec: Codec, forms: Sequence[Form]
    ) -> Iterator[Candidate | Skip]:
        """Offer the weight as it is, in either form the same."""
        if "stored" not in forms:
            yield Skip(layer.name, self.name, "a kept weight has no computed form")
            return
        yield Candidate(layer, self.name, {}, "stored", layer.weight.nbytes, 0.0, layer.macs, Encoded())

    def encode(self, layer: Layer, settings: Mapping[str, Scalar], codec: Codec) -> Encoded:
        """Return an empty payload: the weight stays where it is."""
        return Encoded()

    def restore(self, candidate: Candidate) -> NDArray[np.float32]:
        """Return the weight itself."""
        return candidate.layer.canonical()

    def emit(self, candidate: Candidate, builder: Builder) -> None:
        """Emit nothing."""
