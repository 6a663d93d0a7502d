"""DCT-II over a kernel's spatial axes, or over blocks of a matrix's columns; few positions, quantised.

A weight is cut into vectors of k numbers: a kernel's flattened spatial axes, or `block` neighbouring
columns of a matrix (and a shorter remainder). Their coefficients are kept by position, so that a
position is a context of the coder; positions with little energy are dropped. With B the kept rows
of the basis, W'[vector] = c[vector] B: one MatMul (transforms/dct.py has formula and source).

With input statistics a kernel's coefficients are rounded with error feedback in the DCT domain, where
the second moment is T H Tᵀ (onnxzip/codec/feedback.py has formula and source), and all positions are
kept: those that matter little get large steps.

Computed form of a Conv with group 1: W'[o, i] = sum_p c[o, i, p] B[p], hence a depthwise Conv with
the p shared kernels B, then a 1x1 Conv with c. It costs p (k + n_out) instead of k n_out
multiply-accumulates per input channel and position.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from onnxzip.passbase import Builder, Codec, Pass, Site
from onnxzip.records.aliases import Form, Scalar
from onnxzip.records.layer import Layer
from onnxzip.records.payload import Encoded
from onnxzip.records.plan import Candidate, Skip
from onnxzip.transforms.dct import kept_positions, spatial_basis

from ._columns import RoundedColumns, emit_rounded, has_kernel_basis, restore_rounded
from ._dct_parts import Part, make_parts, quantize, truncated_error
from ._examples import example_layers
from ._shared import check_ranges, payload, price, refusal_of_transforms

_N_NODES, _N_JOINING_NODES, _N_COMPUTED_NODES = 4, 2, 8
"""Nodes that `emit` adds: at most for each part, for joining several, and in computed form."""


@dataclass(frozen=True)
class Dct(Pass):
    """Store quantised DCT coefficients.

    Attributes:
        block: columns of a matrix transformed together.
        truncation: energy that dropping positions may lose, as a share of the quantisation noise.
        computed_keep: shares of the energy that the computed form may keep.
    """

    name: ClassVar[str] = "dct"
    min_opset: ClassVar[int] = 8
    examples: ClassVar[tuple[Layer, ...]] = example_layers()

    block: int = 8
    truncation: float = 0.1
    computed_keep: tuple[float, ...] = (0.7, 0.8, 0.9, 0.95, 0.98)

    def __post_init__(self) -> None:
        """Refuse blocks that are none, and shares that are none."""
        keep = (self.computed_keep, 0.0, 1.0)
        check_ranges(block=(self.block, 1, 1024), truncation=(self.truncation, 0, 1), computed_keep=keep)

    def candidates(
        self, layer: Layer, codec: Codec, forms: Sequence[Form]
    ) -> Iterator[Candidate | Skip]:
        """Offer one stored candidate per rate, and a computed one per rate and number of positions."""
        if (skip := refusal_of_transforms(layer, self.name) or self._refusal(layer)) is not None:
            yield skip
            return
        parts = make_parts(layer, self.block)
        if "stored" in forms:
            columns = _columns(layer)
            if columns is not None and columns.feedback is not None:
                settings = {"keep_fraction": 1.0, "block": self.block, "feedback": True}
                yield from columns.ladder(self.name, settings, codec=codec, n_nodes=_N_NODES)
            else:
                yield from (self._stored(layer, parts, rate, codec) for rate in codec.rates)
        if "computed" in forms:
            computed = _refuse_computed(layer)
            if computed is None:
                yield from self._computed(layer, parts[0], codec)
            elif "stored" not in forms:
                yield Skip(layer.name, self.name, computed)

    def encode(self, layer: Layer, settings: Mapping[str, Scalar], codec: Codec) -> Encoded:
        """Quantise the positions that hold `keep_fraction` of the energy at `rate`."""
        rate = float(settings["rate"])
        if settings.get("feedback", False) and (columns := _columns(layer)) is not None:
            return columns.encode(rate, codec)
        parts = make_parts(layer, int(settings["block"]))
        return quantize(parts, float(settings["keep_fraction"]), rate, codec)

    def restore(self, candidate: Candidate) -> NDArray[np.float32]:
        """Return the inverse DCT of the kept coefficients, canonical shape."""
        encoded = payload(candidate)
        if "columns" in encoded.coefficients:
            return restore_rounded(candidate.layer, encoded)
        parts = []
        for name, coefficients in encoded.coefficients.items():
            basis = encoded.tables[name]
            values = coefficients.values().reshape(len(basis), -1)
            parts.append((values.T @ basis).reshape(candidate.layer.n_rows, -1))
        restored = np.concatenate(parts, axis=1) if len(parts) > 1 else parts[0]
        return restored.reshape(candidate.layer.canonical_shape)

    def emit(self, candidate: Candidate, builder: Builder) -> None:
        """Emit Transpose and MatMul with the basis, or the depthwise and the 1x1 Conv."""
        if candidate.form == "computed":
            _emit_computed(candidate, builder)
            return
        encoded = payload(candidate)
        if "columns" in encoded.coefficients:
            emit_rounded(candidate.layer, encoded, builder)
            return
        n_rows = candidate.layer.n_rows
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

    def _stored(self, layer: Layer, parts: list[Part], rate: float, codec: Codec) -> Candidate:
        """Return the stored candidate of a rate; what truncation loses follows from the rate."""
        encoded = quantize(parts, 1.0, rate, codec)
        keep_fraction = max(0.0, 1.0 - self.truncation * truncated_error(parts, 1.0, encoded) ** 2)
        if any(
            len(kept_positions(p.energies, keep_fraction)) < len(encoded.tables[p.name]) for p in parts
        ):
            encoded = quantize(parts, keep_fraction, rate, codec)
        else:
            keep_fraction = 1.0
        return price(
            layer,
            self.name,
            {"rate": float(rate), "keep_fraction": keep_fraction, "block": self.block},
            encoded,
            codec=codec,
            n_nodes=_N_NODES if len(parts) == 1 else _N_NODES * len(parts) + _N_JOINING_NODES,
            error=truncated_error(parts, keep_fraction, encoded),
        )

    def _computed(self, layer: Layer, part: Part, codec: Codec) -> Iterator[Candidate | Skip]:
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
                encoded = quantize([part], fraction, rate, codec)
                candidate = price(
                    layer,
                    self.name,
                    {"rate": float(rate), "keep_fraction": fraction, "block": self.block},
                    encoded,
                    codec=codec,
                    n_nodes=_N_COMPUTED_NODES,
                    error=truncated_error([part], fraction, encoded),
                    form="computed",
                    macs=macs,
                )
                ladder.append(candidate.released())
        if not ladder:
            fewest = min(fractions)
            reason = (
                f"{fewest} of {k} DCT positions with {n_out} filters cost no fewer multiply-accumulates"
            )
            yield Skip(layer.name, self.name, reason)
        for candidate in sorted(ladder, key=lambda c: c.n_bytes):  # payloads are made again, one by one
            fraction, rate = (float(candidate.settings[key]) for key in ("keep_fraction", "rate"))
            yield replace(candidate, encoded=quantize([part], fraction, rate, codec))


def _columns(layer: Layer) -> RoundedColumns | None:
    """Return the columns of a kernel's coefficients; None for matrices, which gain nothing so."""
    spatial = layer.sizes[3]
    return None if int(np.prod(spatial)) == 1 else RoundedColumns(layer, spatial_basis(spatial))


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
