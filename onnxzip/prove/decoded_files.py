"""Decodes and runs files that anybody may have made, in processes of their own.

The process that asks has seen nothing of such a file but its bytes: `graph.read_mark` has refused what
is no decoder of ours, and what is out of proportion. Modules that are slow to load are loaded where they
are used: in the other process only.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from onnxzip.errors import InputError, ModelError, check_room
from onnxzip.graph import (
    Model,
    claims_of,
    count_differences,
    inline_bytes,
    loadable,
    most_bytes_in_use,
    structure,
    with_plain_weights,
)
from onnxzip.options import Options
from onnxzip.prove.decoding import decode_steps, decoded_arrays
from onnxzip.records.aliases import Array
from onnxzip.runtime.apart import Limits, LostProcessError, collect_apart, run_apart
from onnxzip.runtime.optimised import optimised_model
from onnxzip.runtime.survival import run_steps_alone

_DECODE_S, _OPERATIONS_A_S = 5, 10_000_000
"""Seconds for starting onnxruntime, and operations a second: a twentieth of what a core of 2020 does."""

_DECODE_BYTES = 1 << 30
"""Address space, mostly untouched, of onnxruntime's threads and allocators on 64 cores."""

_RUN_S, _BYTES_A_S = 6, 500_000
"""CPU seconds that a model may take for one run, and bytes of weights that give it a second more: 20
times what a convolution of a large picture takes."""

_RUN_BYTES, _RUN_FACTOR = 2 << 30, 16
"""Memory that a model may take for it, and that for each byte of weights: a picture of 1024 x 1024 takes
1 GB in a small network."""


@dataclass(frozen=True)
class FileTest:
    """What was found in a file that decodes.

    Attributes:
        n_decoded: weights decoded.
        n_not_finite: numbers among them that are NaN or infinite.
        n_different: nodes that BASIC optimisation leaves of the decoder, or that it lacks.
    """

    n_decoded: int
    n_not_finite: int
    n_different: int


def decode_apart(model: Model, n_nodes: int) -> dict[str, Array]:
    """Return what the runtime decodes: an array for each value that the decode nodes make.

    It decodes with no more time and memory than the decoder claims to need, and few values are in
    memory at once, here and there: the arrays lie in a temporary file.

    Raises:
        ModelError: the decode nodes fail, or do something else than to decode.
    """
    limits = _decode_limits(model, n_nodes)
    try:
        pieces = collect_apart(limits, run_steps_alone, decode_steps(model, n_nodes))
    except LostProcessError as error:
        raise ModelError(f"{model.source}: its decoder {error}; get the file anew") from error
    except InputError as error:
        raise _damaged(model, error) from error
    return decoded_arrays(model, n_nodes, pieces)


def try_apart(model: Model, n_nodes: int, options: Options, *, runs: bool) -> FileTest:
    """Decode a file, and run it, too, where `runs` asks for that: once, on inputs that it accepts.

    Raises:
        InputError: it cannot be decoded, onnxruntime refuses it, no inputs of ours run, or a run takes
            more than a model of its size should.
    """
    n_bytes = inline_bytes(model) + claims_of(model, n_nodes).n_decoded_bytes
    decoding = _decode_limits(model, n_nodes)
    limits = Limits(
        decoding.cpu_s + _RUN_S + n_bytes // _BYTES_A_S,
        max(decoding.n_bytes or 0, _RUN_BYTES + _RUN_FACTOR * n_bytes),
    )
    own = Options(custom_ops=options.custom_ops, seed=options.seed)  # data of the user's may not travel
    try:
        return run_apart(limits, _try_here, model, n_nodes, own, runs)
    except LostProcessError as error:
        raise ModelError(
            f"{model.source}: a run of it {error}; run it yourself, within limits, on inputs of your own"
        ) from error


def _decode_limits(model: Model, n_nodes: int) -> Limits:
    claims = claims_of(model, n_nodes)
    # The claims were found to be in proportion; what the pieces need is less, but in files of others.
    n_needed = min(most_bytes_in_use(model, n_nodes), claims.n_needed_bytes)
    n_bytes = 2 * (n_needed + claims.n_decoded_bytes + claims.n_stored_bytes)
    return Limits(_DECODE_S + claims.n_operations // _OPERATIONS_A_S, _DECODE_BYTES + n_bytes)


def _try_here(model: Model, n_nodes: int, options: Options, runs: bool) -> FileTest:
    """Do what `try_apart` promises, in this process."""
    check_room(has_scipy=True)
    from onnxzip.measure.inputs.feeding import run_alone
    from onnxzip.prove.decoded_weights import decode_weights

    try:
        decoded = decode_weights(model, n_nodes)
    except InputError as error:
        raise _damaged(model, error) from error
    plain = with_plain_weights(model, n_nodes, decoded)
    found, wanted = (
        structure(optimised_model(loadable(m), custom_ops=options.custom_ops)) for m in (model, plain)
    )
    if runs:
        run_alone(model, options)
    return FileTest(
        n_decoded=len(decoded),
        n_not_finite=sum(int(np.count_nonzero(~np.isfinite(array))) for array in decoded.values()),
        n_different=count_differences(found, wanted),
    )


def _damaged(model: Model, error: InputError) -> ModelError:
    finding = error.finding.removeprefix(f"{model.source}: ")
    return ModelError(
        f"{model.source}: is damaged, its weights cannot be decoded; fetch it again ({finding})"
    )
