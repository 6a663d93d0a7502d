"""What a model is fed: the user's data, or families of inputs that are made up for it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from os import PathLike

from onnxzip import graph
from onnxzip.errors import CalibrationError, ModelError
from onnxzip.graph import Model, loadable
from onnxzip.inputs.feedset import FeedSet
from onnxzip.inputs.generated.attempts import ChooseScalings, Helpers, run_on_any
from onnxzip.inputs.generated.readings import Hints
from onnxzip.inputs.generated.runnable import runnable_families
from onnxzip.inputs.given.arrays import ArrayLike, is_array
from onnxzip.inputs.given.from_files import load_calibration
from onnxzip.measure.first_answers import fitting_scalings
from onnxzip.options import Options
from onnxzip.records.aliases import Feeds
from onnxzip.runtime.feeding import RunLimit
from onnxzip.runtime.session import Session, open_session
from onnxzip.runtime.survival import survives


def make_feeds(
    session: Session, model: Model, options: Options
) -> tuple[tuple[FeedSet, ...], Sequence[ArrayLike]]:
    """Return the user's data and the labels that came with it, or families of generated inputs."""
    if options.calibration is None:
        return make_up(session, model, options), ()
    source, inputs = options.calibration, (*session.inputs, *session.optional_inputs)
    feeds, labels = load_calibration(source, inputs)
    can_be_read_again = isinstance(source, str | PathLike | Mapping) or is_array(source)
    if can_be_read_again and feeds.sizes[0] > 1 and not _runs(session, feeds.feeds[0]):
        # some graphs take one sample a run, though their batch is called free
        single, _ = load_calibration(source, inputs, batch_size=1)
        feeds = single if _runs(session, single.feeds[0]) else feeds
    return (replace(feeds, is_like_real=True),), labels


def _runs(session: Session, feeds: Feeds) -> bool:
    try:
        session.run(feeds)
    except (CalibrationError, ModelError):
        return False
    return True


def make_up(
    session: Session,
    model: Model,
    options: Options,
    n_samples: int | None = None,
    choose_scalings: ChooseScalings | None = None,
) -> tuple[FeedSet, ...]:
    """Return families of inputs that are made up, in the scalings that the model suggests.

    Args:
        session: the model.
        model: the same.
        options: has the seed.
        n_samples: of each family.
        choose_scalings: chooses the scalings instead of the model's first layers.
    """
    with _limited(session, model) as limit:
        helpers = _helpers(model, options, limit, choose_scalings)
        return runnable_families(session, seed=options.seed, n_samples=n_samples, helpers=helpers)


def run_alone(model: Model, options: Options) -> None:
    """Run a model once, on the first inputs of ours that it accepts.

    Raises:
        InputError: it does not load, or accepts none.
    """
    with (
        open_session(loadable(model), custom_ops=options.custom_ops) as session,
        _limited(session, model) as limit,
    ):
        run_on_any(session, seed=options.seed, helpers=_helpers(model, options, limit))


_LOOP_S = 8.0
"""Seconds for a run of a model whose loops may never end: it is run dozens of times later."""


@contextmanager
def _limited(session: Session, model: Model) -> Iterator[RunLimit | None]:
    """Limit the runs of a model that may never end, on inputs that nobody chose for it."""
    loop = graph.endless_loop(model)
    limit = RunLimit(_LOOP_S, f"{loop}, whose end depends on an input,") if loop else None
    session.set_limit(limit)
    try:
        yield limit
    finally:
        session.set_limit(None)


_MOST_SEARCHED, _MOST_INFERRED = 1024, 100_000
"""Sizes of an axis that are looked at where no usual one runs, and nodes whose shapes are inferred for
them: ten seconds or so."""


def _helpers(
    model: Model,
    options: Options,
    limit: RunLimit | None,
    choose_scalings: ChooseScalings | None = None,
) -> Helpers:
    decoded = graph.decoded_shapes(model, graph.read_mark(model)[0]) if graph.is_marked(model) else {}
    fitting = graph.FittingSizes(model)
    return Helpers(
        Hints(graph.index_ranges(model), graph.part_ranges(model), graph.masks(model)),
        lambda feeds: survives(loadable(model), feeds, options.custom_ops, limit),
        choose_scalings or partial(fitting_scalings, model, options.custom_ops),
        partial(graph.run_cost, model),
        graph.guess_shapes(model, decoded),
        graph.fixed_sizes(model, decoded),
        fitting.fit,
        min(_MOST_SEARCHED, _MOST_INFERRED // max(fitting.n_nodes, 1)),
    )
