"""DCT-II over a kernel's spatial axes, or over blocks of a matrix's columns; few positions, quantised.

A weight is cut into vectors of k numbers: a kernel's flattened spatial axes, or `block` neighbouring
columns of a matrix (and a shorter remainder). Their coefficients are kept by position, so that a
position is a context of the coder; positions with little energy are dropped. With B the kept rows
of the basis, W'[vector] = c[vector] B: one MatMul (transforms/dct.py has formula and source).

With input statistics a kernel's coefficients are rounded with error feedback in the DCT domain, where
the second moment is T H Tᵀ (onnxzip/feedback.py has formula and source), and all positions are kept:
those that matter little get large steps.

Computed form of a Conv with group 1: W'[o, i] = sum_p c[o, i, p] B[p], hence a depthwise Conv with
the p shared kernels B, then a 1x1 Conv with c. It costs p (k + n_out) instead of k n_out
multiply-accumulates per input channel and position.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from onnxzip.codec.feedback import layer_feedback
from onnxzip.codec.variable_rate import rows_per_segment
from onnxzip.passbase import NODE_OVERHEAD_BYTES, Builder, Codec, Pass, Site, relative_error
from onnxzip.records.aliases import Form, Scalar
from onnxzip.records.layer import Layer
from onnxzip.records.payload import Encoded, Feedback
from onnxzip.records.plan import Candidate, Skip
from onnxzip.transforms.dct import kept_positions, spatial_basis

from ._columns import (
    count_rows,
    emit_from_columns,
    has_kernel_basis,
    restore_columns,
    to_columns,
)
from .keep import example_layers
from .scalar import payload, refusal_of_transforms


@dataclass(frozen=True, eq=False)
class _Part:
    """Coefficients of equally long vectors, by position.

    Attributes:
        name: key of the part in the payload.
        basis: (k, k), the rows are the basis vectors.
        coefficients: (k, n_rows, n_vectors) float32.
    """

    name: str
    basis: NDArray[np.float32]
    coefficients: NDArray[np.float32]

    @cached_property
    def energies(self) -> NDArray[np.float64]:
        """Energy of each position, (k,)."""
        return np.array(
            [np.dot(c, c) for c in self.coefficients.reshape(len(self.basis), -1)], np.float64
        )

    def segments(self, kept: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return kept positions as (n_segments, length): runs of rows, a position each."""
        _, n_rows, n_vectors = self.coefficients.shape
        chosen = self.coefficients if len(kept) == len(self.basis) else self.coefficients[kept]
        return chosen.reshape(-1, rows_per_segment(n_rows, n_vectors) * n_vectors)


@dataclass(frozen=True)
class Dct(Pass):
    """Store quantised DCT coefficients.

    Attributes:
        block: columns of a matrix transformed together.
        truncation: energy that dropping positions may lose, as a share of the quantisation noise.
        computed_keep: shares of the energy that the computed form may keep.
    """

    name: ClassVar[str] = "dct"
    examples: ClassVar[tuple[Layer, ...]] = example_layers()

    block: int = 8
    truncation: float = 0.1
    computed_keep: tuple[float, ...] = (0.7, 0.8, 0.9, 0.95, 0.98)

    def candidates(
        self, layer: Layer, codec: Codec, forms: Sequence[Form]
    ) -> Iterator[Candidate | Skip]:
        """Offer one stored candidate per rate, and a computed one per rate and number of positions."""
        if (skip := refusal_of_transforms(layer, self.name) or self._refusal(layer)) is not None:
            yield skip
            return
        parts = self._transform(layer, self.block)
        if "stored" in forms:
            feedback = _feedback(layer)
            for rate in codec.rates:
                if feedback is None:
                    yield self._stored(layer, parts, rate, codec)
                else:
                    yield self._with_feedback(layer, parts[0], rate, codec, feedback)
        if "computed" in forms:
            computed = _refuse_computed(layer)
            if computed is None:
                yield from self._computed(layer, parts[0], codec)
            elif "stored" not in forms:
                yield Skip(layer.name, self.name, computed)

    def encode(self, layer: Layer, settings: Mapping[str, Scalar], codec: Codec) -> Encoded:
        """Quantise the positions that hold `keep_fraction` of the energy at `rate`."""
        parts, rate = self._transform(layer, int(settings["block"])), float(settings["rate"])
        if settings.get("feedback", False):
            return _quantize_columns(layer, parts[0].basis, rate, codec, _feedback(layer))
        return _quantize(parts, float(settings["keep_fraction"]), rate, codec)

    def restore(self, candidate: Candidate) -> NDArray[np.float32]:
        """Return the inverse DCT of the kept coefficients, canonical shape."""
        encoded = payload(candidate)
        n_rows = count_rows(candidate.layer)
        if "columns" in encoded.coefficients:
            values = encoded.coefficients["columns"].values()
            return restore_columns(candidate.layer, values, encoded.tables["columns"])
        parts = []
        for name, coefficients in encoded.coefficients.items():
            basis = encoded.tables[name]
            values = coefficients.values().reshape(len(basis), -1)
            parts.append((values.T @ basis).reshape(n_rows, -1))
        restored = np.concatenate(parts, axis=1) if len(parts) > 1 else parts[0]
        return restored.reshape(candidate.layer.canonical_shape)

    def emit(self, candidate: Candidate, builder: Builder) -> None:
        """Emit Transpose and MatMul with the basis, or the depthwise and the 1x1 Conv."""
        if candidate.form == "computed":
            _emit_computed(candidate, builder)
            return
        encoded = payload(candidate)
        if "columns" in encoded.coefficients:
            value = builder.coefficients(encoded.coefficients["columns"])
            emit_from_columns(candidate.layer, value, encoded.tables["columns"], builder)
            return
        n_rows = count_rows(candidate.layer)
        planes: list[str] = []
        widths: list[int] = []
        for name, coefficients in encoded.coefficients.items():
            n_kept, k = encoded.tables[name].shape
            n_vectors = coefficients.integers.size // n_kept
            value = builder.coefficients(coefficients)
            value = builder.reshape(value, (n_kept, n_vectors))
            value = builder.node("Transpose", [value], (n_vectors, n_kept), np.float32, perm=(1, 0))
            basis = builder.constant(encoded.tables[name])
            planes.append(builder.node("MatMul", [value, basis], (n_vectors, k), np.float32))
            widths.append(n_vectors * k // n_rows)
        if len(planes) > 1:
            rows = [builder.reshape(p, (n_rows, w)) for p, w in zip(planes, widths, strict=True)]
            planes = [builder.node("Concat", rows, (n_rows, sum(widths)), np.float32, axis=1)]
        builder.replace_weight(candidate.layer, planes[0])

    def _refusal(self, layer: Layer) -> Skip | None:
        """Refuse a kernel that is larger than its layer can pay for, or a matrix that is too narrow."""
        _, _, n_inner, spatial = layer.sizes
        k = int(np.prod(spatial))
        if k > 1 and not has_kernel_basis(layer):
            reason = (
                f"the {k} x {k} basis is more than half of the weight's {layer.weight.size} elements"
            )
            return Skip(layer.name, self.name, reason)
        if k == 1 and n_inner < 2 * self.block:
            reason = f"{n_inner} columns and no spatial axes; needs at least {2 * self.block} columns"
            return Skip(layer.name, self.name, reason)
        return None

    def _transform(self, layer: Layer, block: int) -> list[_Part]:
        """Return the coefficients by position: one part, and the remainder of a matrix's columns."""
        n_rows = count_rows(layer)
        spatial = layer.sizes[3]
        k = int(np.prod(spatial))
        if k > 1:
            return [_part("kernels", layer.canonical().reshape(n_rows, -1, k), spatial)]
        plane = layer.canonical().reshape(n_rows, -1)
        n_whole = plane.shape[1] - plane.shape[1] % block
        parts = [_part("blocks", plane[:, :n_whole].reshape(n_rows, -1, block), (block,))]
        if n_whole < plane.shape[1]:
            rest = plane[:, n_whole:]
            parts.append(_part("remainder", rest[:, None, :], (rest.shape[1],)))
        return parts

    def _stored(self, layer: Layer, parts: list[_Part], rate: float, codec: Codec) -> Candidate:
        """Return the stored candidate of a rate; what truncation loses follows from the rate."""
        encoded = _quantize(parts, 1.0, rate, codec)
        keep_fraction = max(0.0, 1.0 - self.truncation * _error(parts, 1.0, encoded) ** 2)
        if any(
            len(kept_positions(p.energies, keep_fraction)) < len(encoded.tables[p.name]) for p in parts
        ):
            encoded = _quantize(parts, keep_fraction, rate, codec)
        else:
            keep_fraction = 1.0
        n_nodes = 3 * len(parts) if len(parts) == 1 else 4 * len(parts) + 1
        return Candidate(
            layer,
            self.name,
            {"rate": float(rate), "keep_fraction": keep_fraction, "block": self.block},
            "stored",
            codec.n_bytes(encoded) + (n_nodes + 1) * NODE_OVERHEAD_BYTES,
            _error(parts, keep_fraction, encoded),
            layer.macs,
            encoded,
        )

    def _with_feedback(
        self, layer: Layer, part: _Part, rate: float, codec: Codec, feedback: Feedback
    ) -> Candidate:
        """Return the stored candidate of a rate, rounded with error feedback."""
        encoded = _quantize_columns(layer, part.basis, rate, codec, feedback)
        values = encoded.coefficients["columns"].values()
        return Candidate(
            layer,
            self.name,
            {"rate": float(rate), "keep_fraction": 1.0, "block": self.block, "feedback": True},
            "stored",
            codec.n_bytes(encoded) + 4 * NODE_OVERHEAD_BYTES,
            relative_error(layer.canonical(), restore_columns(layer, values, part.basis)),
            layer.macs,
            encoded,
        )

    def _computed(self, layer: Layer, part: _Part, codec: Codec) -> Iterator[Candidate | Skip]:
        """Offer the computed form for every count of positions that saves multiply-accumulates."""
        _, n_out, _, _ = layer.sizes
        k = len(part.basis)
        fractions = {len(kept_positions(part.energies, f)): f for f in sorted(self.computed_keep)}
        ladder = []
        for n_kept, fraction in fractions.items():
            if n_kept * (k + n_out) >= k * n_out:
                continue
            macs = round((layer.macs or 0) * n_kept * (k + n_out) / (k * n_out))
            for rate in codec.rates:
                encoded = _quantize([part], fraction, rate, codec)
                n_bytes = codec.n_bytes(encoded) + 8 * NODE_OVERHEAD_BYTES
                settings = {"rate": float(rate), "keep_fraction": fraction, "block": self.block}
                error = _error([part], fraction, encoded)
                ladder.append(Candidate(layer, self.name, settings, "computed", n_bytes, error, macs))
        if not ladder:
            fewest = min(fractions)
            reason = (
                f"{fewest} of {k} DCT positions with {n_out} filters cost no fewer multiply-accumulates"
            )
            yield Skip(layer.name, self.name, reason)
        for candidate in sorted(
            ladder, key=lambda c: c.n_bytes
        ):  # payloads are made again, one at a time
            settings_of = candidate.settings
            fraction, rate = float(settings_of["keep_fraction"]), float(settings_of["rate"])
            yield replace(candidate, encoded=_quantize([part], fraction, rate, codec))


def _part(name: str, vectors: NDArray[np.float32], sizes: tuple[int, ...]) -> _Part:
    """Transform (n_rows, n_vectors, k) vectors."""
    n_rows, n_vectors, k = vectors.shape
    basis = spatial_basis(sizes)
    return _Part(name, basis, (basis @ vectors.reshape(-1, k).T).reshape(k, n_rows, n_vectors))


def _quantize(parts: Sequence[_Part], keep_fraction: float, rate: float, codec: Codec) -> Encoded:
    """Quantise the kept positions of every part; the tables are the kept rows of each basis."""
    kept = {part.name: kept_positions(part.energies, keep_fraction) for part in parts}
    return Encoded(
        {part.name: codec.quantize(part.segments(kept[part.name]), rate) for part in parts},
        tables={part.name: part.basis[kept[part.name]] for part in parts},
    )


def _feedback(layer: Layer) -> Feedback | None:
    """Return the feedback of a kernel's coefficients; None for matrices, which gain nothing from it."""
    if int(np.prod(layer.sizes[3])) == 1:
        return None
    return layer_feedback(layer, spatial_basis(layer.sizes[3]))


def _quantize_columns(
    layer: Layer, basis: NDArray[np.float32], rate: float, codec: Codec, feedback: Feedback | None
) -> Encoded:
    """Quantise all positions of all channels, a column each: (k * n_inner, n_rows)."""
    quantised = codec.quantize(to_columns(layer, basis), rate, feedback)
    return Encoded({"columns": quantised}, tables={"columns": basis})


def _error(parts: Sequence[_Part], keep_fraction: float, encoded: Encoded) -> float:
    """Return |W - W'| / |W| from the coefficients: the transform is orthogonal (Parseval)."""
    lost = total = 0.0
    for part in parts:
        kept = kept_positions(part.energies, keep_fraction)
        difference = part.segments(kept) - encoded.coefficients[part.name].values()
        total += float(part.energies.sum())
        lost += float(np.linalg.norm(difference.ravel())) ** 2
        lost += float(np.delete(part.energies, kept).sum())
    return float(np.sqrt(lost / total)) if total > 0 else 0.0


def _refuse_computed(layer: Layer) -> str | None:
    """Say why a layer has no computed form; None when it may have one."""
    if layer.op_type != "Conv" or not layer.can_compute or layer.macs is None:
        return "the computed form needs a Conv of known cost that may be replaced"
    if layer.attributes.get("group", 1) != 1 or int(np.prod(layer.sizes[3])) == 1:
        return "the computed form needs a Conv with group 1 and a kernel larger than 1"
    if layer.weight.dtype != np.float32:
        return f"the computed form needs float32 weights, not {layer.weight.dtype}"
    return None


def _emit_computed(candidate: Candidate, builder: Builder) -> None:
    """Emit the basis as depthwise kernels and the coefficients as a 1x1 Conv."""
    encoded = payload(candidate)
    _, n_out, n_inner, spatial = candidate.layer.sizes
    (name,) = encoded.coefficients
    basis = encoded.tables[name]
    n_kept, ones = len(basis), (1,) * len(spatial)
    kernels_shape = (n_inner, n_kept, 1, *spatial)
    table = builder.constant(basis.reshape(1, n_kept, 1, *spatial))
    shape = builder.constant(np.array(kernels_shape, np.int64))
    kernels = builder.node("Expand", [table, shape], kernels_shape, np.float32)
    kernels = builder.reshape(kernels, (n_inner * n_kept, 1, *spatial))
    mix = builder.coefficients(encoded.coefficients[name])
    mix = builder.reshape(mix, (n_kept, n_out, n_inner))
    mix = builder.node("Transpose", [mix], (n_out, n_inner, n_kept), np.float32, perm=(1, 2, 0))
    mix = builder.reshape(mix, (n_out, n_inner * n_kept, *ones))

    def emit_site(site: Site) -> None:
        attributes = {**site.attributes, "group": n_inner}
        spread = builder.run_node("Conv", [site.data, kernels], "", **attributes)
        inputs = [spread, mix, site.bias] if site.bias else [spread, mix]
        builder.run_node("Conv", inputs, site.output, kernel_shape=ones)

    builder.replace_node(candidate.layer, emit_site)
