"""Decodes and runs files that anybody may have made, in processes of their own.

The process that asks has seen nothing of such a file but its bytes: `graph.read_mark` has refused what
is no decoder of ours, and what is out of proportion. Modules that are slow to load are loaded where they
are used: in the other process only.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, ParamSpec, TypeVar

import numpy as np

from onnxzip.errors import InputError, ModelError, check_room
from onnxzip.graph import (
    Model,
    claims_of,
    count_differences,
    inline_bytes,
    is_marked,
    loadable,
    most_bytes_in_use,
    read_mark,
    structure,
    with_plain_weights,
)
from onnxzip.options import Options
from onnxzip.prove.decoding import decode_steps, decoded_arrays
from onnxzip.records.aliases import Array
from onnxzip.runtime.apart import Limits, LostProcessError, collect_apart, run_apart
from onnxzip.runtime.optimised import optimised_model
from onnxzip.runtime.survival import run_steps_alone

if TYPE_CHECKING:
    from onnxzip.inputs.feedset import FeedSet
    from onnxzip.measure.subject import Subject
    from onnxzip.prove.drift import Answers
    from onnxzip.runtime.outputs import Outputs

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


_TIME_FACTOR, _MEMORY_FACTOR = 8, 2
"""Of what a comparison's original took: a file in int8 takes up to twice its time where the processor
has no instructions for that (`python -m tests.bench.speed`), and a session that decodes more memory."""

_ANSWER_FACTOR, _SPARE_ANSWER_BYTES = 2, 1 << 26
"""Of the original's answers: sizes that depend on data, boxes that are found, may be others."""

P = ParamSpec("P")
T = TypeVar("T")


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
    limits = _run_limits(model, n_nodes)
    own = Options(custom_ops=options.custom_ops, seed=options.seed)  # data of the user's may not travel
    try:
        return run_apart(limits, _try_here, model, n_nodes, own, runs)
    except LostProcessError as error:
        raise _lost(model, error) from error


def _lost(model: Model, error: LostProcessError) -> ModelError:
    return ModelError(
        f"{model.source}: a run of it {error}; run it yourself, within limits, on inputs of your own"
    )


class Apart:
    """Runs a file that anybody may have made on the inputs that its original has run on.

    It does so in processes of their own, with limits that follow from what the file claims, and from
    what the original took.

    Args:
        model: the file; its decoder was looked at.
        subject: has the inputs, and what the original answers to them.
        spent_s: CPU seconds that running the original took, what is around that included.
    """

    def __init__(self, model: Model, subject: Subject, spent_s: float) -> None:
        n_nodes = read_mark(model)[0] if is_marked(model) else 0
        least = _run_limits(model, n_nodes)
        self._model, self._custom_ops = model, subject.custom_ops
        memory = max(least.n_bytes or 0, _RUN_BYTES + _MEMORY_FACTOR * _most_bytes_so_far())
        self._limits = Limits(least.cpu_s + math.ceil(_TIME_FACTOR * spent_s), memory)
        expected = sum(len(s.feeds) * _n_bytes(next(iter(s.reference))) for s in subject.samples)
        self._max_answer_bytes = _SPARE_ANSWER_BYTES + _ANSWER_FACTOR * expected

    def answer(self, provider: str, sets: Sequence[FeedSet]) -> Answers:
        """Run the file on sets of feeds; see `drift.Answer`.

        Raises:
            InputError: it does not load on this provider, fails, or takes more than it should.
        """
        bare = [replace(feeds, answered=()) for feeds in sets]
        n_bytes, ops = self._max_answer_bytes, self._custom_ops
        limits = self._limits
        if provider != "CPU":  # whose drivers reserve address space as large as all memory
            limits = replace(limits, n_bytes=None)
        try:
            found = collect_apart(limits, _answer_here, self._model, provider, ops, bare, n_bytes)
        except LostProcessError as error:
            raise _lost(self._model, error) from error
        (share, first), *others = found
        answered = iter([first, *(outputs for _, outputs in others)])
        for feeds in sets:
            yield share, list(islice(answered, len(feeds)))

    def run(self, task: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a task with the file in it; see `run_apart`.

        Raises:
            ModelError: it takes more than it should, or crashes.
        """
        try:
            return run_apart(self._limits, task, *args, **kwargs)
        except LostProcessError as error:
            raise _lost(self._model, error) from error


def _answer_here(
    model: Model, provider: str, custom_ops: Path | None, sets: Sequence[FeedSet], max_bytes: int
) -> Iterator[tuple[str, Outputs]]:
    """Yield what a model answers to each of the feeds, with what is known of where it ran."""
    check_room(has_scipy=True)
    from onnxzip.measure.outputs.recorded_outputs import run_all
    from onnxzip.prove.notes import share_of
    from onnxzip.runtime.session import open_session

    n_bytes = 0
    with open_session(loadable(model), provider=provider, custom_ops=custom_ops) as session:
        for feeds in sets:
            for outputs in run_all(session, feeds):
                n_bytes += _n_bytes(outputs)
                if n_bytes > max_bytes:
                    raise ModelError(
                        f"{model.source}: answers with more than {max_bytes} bytes, far more than the "
                        "original; get the file from where it was made"
                    )
                yield share_of(session), outputs


def _n_bytes(outputs: Outputs) -> int:
    return sum(array.nbytes for array in outputs.values())


def _most_bytes_so_far() -> int:
    """Return the most memory that this process has had resident, 0 where the system does not tell."""
    try:
        import resource
    except ImportError:  # Windows
        return 0
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def _run_limits(model: Model, n_nodes: int) -> Limits:
    """Return what a file may take to be decoded and run once."""
    n_bytes = inline_bytes(model) + claims_of(model, n_nodes).n_decoded_bytes
    decoding = _decode_limits(model, n_nodes)
    return Limits(
        decoding.cpu_s + _RUN_S + n_bytes // _BYTES_A_S,
        max(decoding.n_bytes or 0, _RUN_BYTES + _RUN_FACTOR * n_bytes),
    )


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
