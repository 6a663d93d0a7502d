"""Vector quantisation: indices of nearest codewords, a small float16 table, one Gather in the graph.

From 3 bits a weight on, where integers are packed, codebooks are large ones (_codebook_large.py).
Vectors are runs of d consecutive weights of the (out, in*k) plane; rows may first be divided by their
rms, which a trial on the layer decides. Formula and sources: transforms/codebook.py.

With input statistics a vector is d neighbours in one column, so that columns can be replaced one by one
with error feedback (codec/feedback.py), as in GPTVQ (van Baalen et al. 2024, arXiv 2402.15319). Its
codewords are fitted to columns in proportion to what their errors cost the layer's output.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from onnxzip.codec.layer_feedback import layer_feedback
from onnxzip.passbase import NODE_OVERHEAD_BYTES, Builder, Codec, Pass, relative_error
from onnxzip.records.aliases import Scalar
from onnxzip.records.layer import Layer
from onnxzip.records.payload import Encoded, Feedback
from onnxzip.records.plan import Candidate, Skip
from onnxzip.transforms import codebook

from ._codebook_columns import encode_columns, scales_of
from ._codebook_emit import emit_codebook
from ._codebook_large import (
    LEAST_RATE,
    is_large,
    large_rungs,
    n_large_nodes,
    whole_indices,
)
from ._codebook_words import all_words, encode_vectors, fit_settings
from ._examples import example_layers
from ._shared import check_ranges, payload, price, refusal_of_transforms

RUNGS = (
    *((8, 256), (6, 256), (5, 256), (4, 16), (4, 64), (4, 256), (3, 256), (2, 16), (2, 64)),
    *((2, 256), (1, 16), (1, 64), (1, 256)),
)
"""(vector length, codewords), where bits a weight are equal, the longest first."""

MAX_TABLE_SHARE = 0.25
"""Largest size of the codebook relative to the indices."""

MIN_SCALED_ROW = 64
"""Shortest row worth a scale of its own: 16 bits are a quarter of a bit a weight at this length."""

TRIAL_RUNG, TRIAL_SIZE = (4, 64), 1 << 20
"""The trial that decides about row scales: vector length and codewords, and weights seen, about."""

N_TOGETHER = 1 << 19
"""Numbers that are replaced together at several rungs, as float64 4 MB: larger arrays take long enough
that what a step in Python costs is nothing."""

BLOCK = 1 << 20
"""Indices looked up at a time."""


@dataclass(frozen=True)
class CodebookPass(Pass):
    """Replace short runs of weights by their nearest codewords.

    Attributes:
        seed: of the codebooks' fit.
    """

    name: ClassVar[str] = "codebook"
    examples: ClassVar[tuple[Layer, ...]] = example_layers()

    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse a seed that numpy refuses."""
        check_ranges(seed=(self.seed, 0, 2**63))

    def candidates(self, layer: Layer, codec: Codec) -> Iterator[Candidate | Skip]:
        """Offer one candidate per codebook size that pays, from the fewest bits a weight to the most."""
        reason = self._reason_against(layer)
        if reason is not None:
            yield reason
            return
        feedback = layer_feedback(layer)
        plane = _plane(layer, feedback)
        large = list(large_rungs(layer, codec))
        rungs = _rungs(layer.weight.size, codec, LEAST_RATE if large else np.inf)
        if feedback is None:
            scaled = self._prefers_row_scales(plane, codec)
            encode = partial(_encode, plane, row_weights=layer.row_weights)
            found = [self._settings(rung, scaled, None) for rung in rungs]
            yield from _frontier(self._candidate(layer, plane, s, encode(s), codec) for s in found)
            for each in large:
                settings = self._settings(each.measured, scaled, None)
                fitted = self._candidate(layer, plane, settings, encode(settings), codec)
                yield from each.with_others(fitted, codec)
            return
        scaled = len(plane) >= MIN_SCALED_ROW
        rungs = [rung for rung in rungs if plane.shape[1] % rung[0] == 0]
        others = {rung.measured: rung for rung in large}
        rungs += others
        n_together = max(N_TOGETHER // plane.size, 1)
        for group in (rungs[i : i + n_together] for i in range(0, len(rungs), n_together)):
            found = [self._settings(rung, scaled, feedback) for rung in group]
            payloads = encode_columns(plane, found, feedback)
            for rung, settings, encoded in zip(group, found, payloads, strict=True):
                fitted = self._candidate(layer, plane, settings, encoded, codec)
                yield from others[rung].with_others(fitted, codec) if rung in others else [fitted]

    def encode(self, layer: Layer, settings: Mapping[str, Scalar], codec: Codec) -> Encoded:
        """Fit a codebook with the settings' size and seed and assign all vectors to it."""
        feedback = layer_feedback(layer)
        plane = _plane(layer, feedback)
        if feedback is not None:
            return encode_columns(plane, [settings], feedback)[0]
        return _encode(plane, settings, layer.row_weights)

    def restore(self, candidate: Candidate) -> NDArray[np.float32]:
        """Return the weight that the payload decodes to."""
        layer = candidate.layer
        plane = _decode(payload(candidate), _plane_shape(candidate), candidate.settings)
        if candidate.settings["feedback"]:
            plane = np.ascontiguousarray(plane.T)
        return plane.reshape(layer.canonical_shape)

    def emit(self, candidate: Candidate, builder: Builder) -> None:
        """Emit Gather(codebook, indices), a Slice of the padding and a Mul by the row scales."""
        emit_codebook(candidate, _plane_shape(candidate), builder)

    def _reason_against(self, layer: Layer) -> Skip | None:
        """Return why there is no candidate, None when there are some."""
        if (skip := refusal_of_transforms(layer, self.name)) is not None:
            return skip
        if not layer.weight.any():
            return Skip(layer.name, self.name, f"all {layer.weight.size} elements are zero")
        return None

    def _settings(
        self, rung: tuple[int, int], scaled: bool, feedback: Feedback | None
    ) -> dict[str, Scalar]:
        """Return the settings of one rung."""
        length, n_codewords = rung
        return {
            "vector": length,
            "codewords": n_codewords,
            "row_scales": scaled,
            "seed": self.seed,
            "feedback": feedback is not None,
        }

    def _candidate(
        self,
        layer: Layer,
        plane: NDArray[np.float32],
        settings: dict[str, Scalar],
        encoded: Encoded,
        codec: Codec,
    ) -> Candidate:
        """Price what was encoded."""
        n_nodes = _n_nodes(encoded, layer, settings)
        error = relative_error(plane, _decode(encoded, plane.shape, settings))
        return price(layer, self.name, settings, encoded, codec=codec, n_nodes=n_nodes, error=error)

    def _prefers_row_scales(self, plane: NDArray[np.float32], codec: Codec) -> bool:
        """Try a rung both ways on some of the rows; a bit a weight is worth a factor of two in error.

        The spread of the rows' rms does not tell: it predicts the gain where it is small, but where a
        few rows hold most of the energy a common codebook serves them better than scales would.
        """
        if len(plane) < 2 or plane.shape[1] < MIN_SCALED_ROW:
            return False
        sample = plane[:: -(-plane.size // TRIAL_SIZE)]
        length, n_codewords = TRIAL_RUNG
        settings = {"vector": length, "codewords": n_codewords, "seed": self.seed, "feedback": False}
        errors = []
        for scaled in (False, True):
            encoded = _encode(sample, {**settings, "row_scales": scaled})
            errors.append(max(relative_error(sample, _decode(encoded, sample.shape, settings)), 1e-9))
        scales = Encoded(tables={"scales": np.zeros(len(plane), np.float16)})
        n_bytes = codec.n_bytes(scales) + 2 * NODE_OVERHEAD_BYTES
        return bool(np.log2(errors[0] / errors[1]) > 8 * n_bytes / plane.size)


def _encode(
    plane: NDArray[np.float32],
    settings: Mapping[str, Scalar],
    row_weights: NDArray[np.float32] | None = None,
) -> Encoded:
    """Make the payload of a (rows, columns) plane."""
    tables, scales = scales_of(plane, settings, axis=1)
    length, _, _ = fit_settings(settings)
    vectors = codebook.split_vectors(np.divide(plane, scales), length)
    importance: NDArray[np.float64] | None = None
    if row_weights is not None and plane.shape[1] % length == 0:
        squares = np.broadcast_to(scales, (len(plane), 1))[:, 0].astype(np.float64) ** 2
        importance = row_weights * squares
    return encode_vectors(vectors, settings, importance, tables)


def _decode(
    encoded: Encoded, shape: tuple[int, ...], settings: Mapping[str, Scalar]
) -> NDArray[np.float32]:
    """Return codebook[indices], times the row scales, as a plane of the given shape."""
    words = all_words(encoded.tables["codebook"], settings)
    integers = encoded.integers
    n_codewords = int(settings["codewords"])
    indices = (whole_indices(encoded, n_codewords) if is_large(settings) else integers["indices"])[0]
    values = np.empty((len(indices), words.shape[1]), np.float32)
    for start in range(0, len(indices), BLOCK):  # numpy widens the indices to 8 bytes each
        values[start : start + BLOCK] = words[indices[start : start + BLOCK]]
    if settings["feedback"]:
        plane = np.ascontiguousarray(values.reshape(shape[0], -1)[:, : shape[1]])
    else:
        plane = values.ravel()[: shape[0] * shape[1]].reshape(shape)
    if "scales" in encoded.tables:
        plane *= encoded.tables["scales"].astype(np.float32)
    return plane


def _rungs(size: int, codec: Codec, below: float) -> list[tuple[int, int]]:
    """Return the codebook sizes that can pay, one per bits a weight, of fewer bits than `below`.

    The table has to be small against the indices, and where the codec stores the indices of a larger
    codebook in the same bytes, that one is the better.
    """
    by_rate: dict[float, tuple[int, int]] = {}
    for length, n_codewords in RUNGS:
        rate = np.log2(n_codewords) / length
        if rate < below and 2 * n_codewords * length <= MAX_TABLE_SHARE * size * rate / 8:
            by_rate.setdefault(rate, (length, n_codewords))
    rungs = [by_rate[rate] for rate in sorted(by_rate)]
    ramp = np.arange(1 << 12, dtype=np.int32)[None]
    prices = {k: codec.n_bytes(Encoded(integers={"indices": ramp % k})) for _, k in rungs}
    return [
        (length, k)
        for length, k in rungs
        if not any(d == length and k < more and prices[more] <= prices[k] for d, more in rungs)
    ]


def _frontier(ladder: Iterable[Candidate]) -> Iterator[Candidate]:
    """Drop candidates that are neither smaller nor more exact than another; at most two are held."""
    held: Candidate | None = None
    least_bytes = 0
    for candidate in ladder:
        if candidate.n_bytes < least_bytes or (held and candidate.error >= held.error):
            continue
        if held and candidate.n_bytes > held.n_bytes:
            yield held
            least_bytes = held.n_bytes
        held = candidate
    if held:
        yield held


def _plane(layer: Layer, feedback: Feedback | None) -> NDArray[np.float32]:
    """Return the canonical weight as (batch*out, in*k), with feedback transposed."""
    return layer.plane() if feedback is None else np.ascontiguousarray(layer.plane().T)


def _plane_shape(candidate: Candidate) -> tuple[int, int]:
    """Return the shape of `_plane`."""
    shape = (candidate.layer.n_rows, candidate.layer.n_columns)
    return shape[::-1] if candidate.settings["feedback"] else shape


def _n_nodes(encoded: Encoded, layer: Layer, settings: Mapping[str, Scalar]) -> int:
    """Count the nodes of `emit`, codec and replace_weight aside."""
    indices, words = encoded.integers["indices"], encoded.tables["codebook"]
    n_casts = sum(table.dtype != np.float32 for table in encoded.tables.values())
    n_slices = 2 if indices.size * words.shape[1] > layer.weight.size else 0
    n_large = n_large_nodes(encoded) if is_large(settings) else 0
    n_turns = 2 if settings["feedback"] else 0
    return 1 + n_casts + n_slices + 2 * ("scales" in encoded.tables) + n_large + n_turns
