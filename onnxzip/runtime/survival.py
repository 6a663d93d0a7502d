"""Runs a model in a process of its own, to see whether that outlives it, or to be sure that we do."""

from __future__ import annotations

import contextlib
import ctypes
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from onnxzip.disk.own_copy import as_bytes
from onnxzip.errors import CalibrationError, ModelError, ProviderError
from onnxzip.records.aliases import Array, Feeds
from onnxzip.runtime.apart import Limits, LostProcessError, run_apart
from onnxzip.runtime.feeding import RunLimit
from onnxzip.runtime.loadable import LoadableModel
from onnxzip.runtime.outputs import Outputs
from onnxzip.runtime.session import create_session, open_session, session_options

_RUN_LIMITS = Limits(cpu_s=600)
"""For one run of a user's model: what takes longer is not to be run dozens of times."""


def survives(
    source: LoadableModel,
    feeds: Feeds,
    custom_ops: Path | None = None,
    limit: RunLimit | None = None,
) -> bool:
    """Run a model in a process of its own, and say whether that outlived it; it may well have failed.

    Some kernels do not check their sizes: a clip that is shorter than a frame ends onnxruntime 1.32, and
    whatever process it is in, with a division by zero in STFT.
    """
    try:
        with source.placed() as placed:
            run_apart(_RUN_LIMITS, _try_to_run, placed, feeds, custom_ops, limit)
    except LostProcessError:
        return False
    return True


def _try_to_run(
    source: LoadableModel, feeds: Feeds, custom_ops: Path | None, limit: RunLimit | None
) -> None:
    refusals = (CalibrationError, ModelError, ProviderError)
    with contextlib.suppress(*refusals), open_session(source, custom_ops=custom_ops) as session:
        session.set_limit(limit)
        session.run(feeds)


@dataclass(frozen=True, eq=False)
class Step:
    """A model that is run once, between others that make what it is fed.

    Attributes:
        source: the model.
        fed: names of its inputs, which earlier steps make.
        shapes: of its outputs, by name.
        given: names and element types of the outputs that are wanted.
        kept: names of the outputs that later steps are fed.
        spent: names of what was kept and that no later step is fed.
    """

    source: LoadableModel
    fed: tuple[str, ...]
    shapes: Mapping[str, tuple[int, ...]]
    given: Mapping[str, np.dtype[np.generic]]
    kept: tuple[str, ...]
    spent: tuple[str, ...]


def run_steps(steps: Iterable[Step]) -> Iterator[dict[str, Array]]:
    """Run models one after the other; yield what each gives as bytes: uint8, (n_bytes,).

    What was yielded is forgotten, and so is what no step is fed any more.

    Raises:
        InputError: a step cannot be loaded, or fails.
        ModelError: it makes another shape than it should.
    """
    held: dict[str, Array] = {}
    for step in steps:
        held |= _run_once(step.source, {name: held[name] for name in step.fed})
        for name, shape in step.shapes.items():
            if held[name].shape != shape:
                found = f"{name!r} of shape {list(held[name].shape)} instead of {list(shape)}"
                raise ModelError(f"{step.source.label}: makes {found}; get the file anew")
        for name in step.spent:
            del held[name]
        yield {
            # bfloat16 came as float32. What no step is fed any more is gone with this dictionary.
            name: as_bytes(
                (held[name] if name in step.kept else held.pop(name)).astype(kind, copy=False)
            )
            for name, kind in step.given.items()
        }


def run_steps_alone(steps: Iterable[Step]) -> Iterator[dict[str, Array]]:
    """Do the same in a process that does nothing else: a task for `collect_apart`."""
    with contextlib.suppress(AttributeError, OSError, TypeError):  # another C library than glibc
        # malloc would keep freed blocks of up to 32 MB for later ones, which are of other sizes.
        ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, _LARGE_BLOCK_BYTES)
    yield from run_steps(steps)


_M_MMAP_THRESHOLD = -3
"""malloc.h: the size from which on a block has pages of its own, which are returned when it is freed."""

_LARGE_BLOCK_BYTES = 1 << 18


def _run_once(source: LoadableModel, feeds: Feeds) -> Outputs:
    """Load a model, run it once, as it is, and forget it: with as little memory as that takes."""
    options = session_options("off", None)
    options.enable_cpu_mem_arena = False  # which grows by doubling, and returns nothing before the end
    options.enable_mem_pattern = False  # which puts values into one block, for the runs to come
    with create_session(source, options, "CPU") as session:
        return session.run(feeds)
