"""From a model to one in which some nodes are chains of thinner ones, where these are faster.

Which is decided by time: every chain is timed beside the nodes that it may stand for, in what they will
compute in. What it loses is measured on the whole model. The factors of the chains are weights like all
others to whatever comes after.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from onnxzip.graph import (
    Model,
    Site,
    annotate_layers,
    find_sites,
    loadable,
    with_chains,
    with_operand_outputs,
)
from onnxzip.measure.metrics.rel_l2 import exact_deviation
from onnxzip.measure.moments.second_moments import collect_statistics
from onnxzip.measure.outputs.recorded_outputs import run_all
from onnxzip.measure.speed.stopwatch import Stopwatch
from onnxzip.measure.subject import Subject
from onnxzip.propose.factorising.choosing import Choice, choose, frontier
from onnxzip.propose.factorising.judging import Judge
from onnxzip.propose.factorising.options import MAX_ERROR, Option, chain_of, kernel_of, options_for
from onnxzip.propose.factorising.times import OptionTimes, Place, Time, TimeModels, timer_for
from onnxzip.records.aliases import Array, Feeds, RunForm
from onnxzip.records.layer import Layer
from onnxzip.records.plan import Rewrite, Skip
from onnxzip.rewrite.prepare import with_weights
from onnxzip.runtime.session import open_session
from onnxzip.transforms.chains import Chain, reason_against
from onnxzip.transforms.factorisation import product

NAME = "factorise"
"""What rewrites and refusals are reported under."""

FASTER = 0.9
"""Upper end of the interval of a chain's time over the node's: a chain that may be less than a tenth
faster costs accuracy for what other surroundings may well take back."""

_LEAST_MACS = 0.005
"""Share of the model's multiply-accumulates below which no layer is looked at: a tenth of it would not
show in the model's time."""

_LEAST_LOSS = 1e-5
"""A chain that moves outputs by less is one that the inputs do not reach (`choose.sensitivity`)."""

_LARGEST_DEVIATION = 1e-3
"""Between a chain and the weight that it amounts to: float32 rounds sums of another order to 1e-6 or 1e-5,
wrong surgery changes everything."""


_SHARE_OF_STATISTICS = 0.2
"""Of the progress that is shown; as much is left for what is measured on the whole model."""

_NO_DATA = (
    "made-up inputs do not tell which directions of a layer's inputs real ones never have; pass some of "
    "yours with `calibration`"
)


@dataclass(frozen=True, eq=False)
class Factorised:
    """A model in which some nodes are chains.

    Attributes:
        model: the model; the one that was given where no node is one.
        rewrites: what was done, a line for each layer.
        skips: why other layers stay as they are.
    """

    model: Model
    rewrites: Sequence[Rewrite] = ()
    skips: Sequence[Skip] = ()


def factorise(
    model: Model,
    layers: Sequence[Layer],
    subject: Subject,
    stopwatch: Stopwatch,
    *,
    share: float,
    forms: Mapping[str, RunForm] | None = None,
    show: Callable[[float], None] = lambda fraction: None,
    time: TimeModels | None = None,
) -> Factorised:
    """Let chains stand for the nodes that take longer, as far as a share of the tolerance goes.

    Args:
        model: a float model; it stays as it is.
        layers: those of its weights that may change.
        subject: its inputs, and how losses are measured.
        stopwatch: has what is timed with: inputs of a run, threads, provider.
        share: of the tolerance that all chains together may use up, 0 ... 1.
        forms: what the nodes of a layer will compute in, by layer name; float32 where it is left out.
        show: called with the fraction done.
        time: times nodes; by default with the stopwatch.

    Raises:
        ModelError, ProviderError: a node cannot be run alone.
    """
    if subject.is_generated:
        return Factorised(model, (), [Skip("graph", NAME, _NO_DATA)])
    work = _Work(model, subject, forms or {}, OptionTimes(time or timer_for(stopwatch)), show)
    timed = work.timed(work.with_statistics(work.able(layers, stopwatch)))
    chains = work.chosen(timed, share)
    if not chains:
        return Factorised(model, (), work.skips)
    changed = with_chains(model, chains)
    if reason := _why_undone(model, changed, chains, subject):
        return Factorised(model, (), [*work.skips, Skip("graph", NAME, reason)])
    return Factorised(changed, work.rewrites, work.skips)


@dataclass(frozen=True, eq=False)
class _Timed:
    """A layer with statistics, and the options that are faster than its nodes."""

    layer: Layer
    form: RunForm
    own_seconds: float
    times: Mapping[Option, Time]


@dataclass(eq=False)
class _Work:
    """One call of `factorise`, step by step; gathers what it does and what it refuses."""

    model: Model
    subject: Subject
    forms: Mapping[str, RunForm]
    times: OptionTimes
    show: Callable[[float], None]
    rewrites: list[Rewrite] = field(default_factory=list)
    skips: list[Skip] = field(default_factory=list)

    def able(self, layers: Sequence[Layer], stopwatch: Stopwatch) -> dict[Layer, list[Place]]:
        """Return the layers whose nodes could be chains, and where they are used."""
        feeds = max(stopwatch.feeds, key=lambda run: sum(array.size for array in run.values()))
        shapes = {name: array.shape for name, array in feeds.items()}
        known = annotate_layers(self.model, layers, shapes)
        least = _LEAST_MACS * sum(layer.macs or 0 for layer in known)
        sites = find_sites(self.model, known)
        found: dict[Layer, list[Site]] = {}
        for layer in known:
            reason = _why_not(layer, least) or ("" if sites[layer.name] else "read by other nodes, too")
            if reason:
                self._skip(layer, reason)
            else:
                found[layer] = sites[layer.name]
        met = _shapes_of(self.model, [s for own in found.values() for s in own], feeds, stopwatch)
        return {
            layer: [Place(site, met[site.operand.value]) for site in own] for layer, own in found.items()
        }

    def with_statistics(self, places: Mapping[Layer, list[Place]]) -> dict[Layer, list[Place]]:
        """Return the layers with the second moment of what they meet, where all of it is known."""
        measured, skips = collect_statistics(
            *(self.model, list(places), self.subject.known_feeds, self.subject.custom_ops),
            lambda fraction: self.show(_SHARE_OF_STATISTICS * fraction),
        )
        self.skips += skips
        found: dict[Layer, list[Place]] = {}
        for layer, own in places.items():
            known = measured.attach(layer)
            if known.statistics is None or known.statistics.n_blocks > 1:
                self._skip(layer, f"no second moment of the {layer.n_columns} numbers that it meets")
            else:
                found[known] = own
        return found

    def timed(self, places: Mapping[Layer, list[Place]]) -> list[_Timed]:
        """Return the layers that have options that are faster than their nodes, and these."""
        found: list[_Timed] = []
        for i, (layer, own) in enumerate(places.items()):
            form = self.forms.get(layer.name, "float32")
            times = self.times.of(layer, own, form, options_for(layer))
            faster = {o: t for o, t in times.items() if o is not None and t.highest <= FASTER}
            if faster:
                found.append(_Timed(layer, form, times[None].seconds, faster))
            else:
                best = min(times.values(), key=lambda t: t.highest if t is not times[None] else math.inf)
                self._skip(
                    layer,
                    f"{len(times) - 1} chains timed in {form}: the fastest takes {best.ratio:.2f} "
                    f"(up to {best.highest:.2f}) of the node's time, {FASTER} are wanted",
                )
            self.show(_SHARE_OF_STATISTICS + (1 - 2 * _SHARE_OF_STATISTICS) * (i + 1) / len(places))
        return found

    def chosen(self, timed: Sequence[_Timed], share: float) -> list[Chain]:
        """Return the chains that are taken; say of all layers what became of them."""
        with Judge(self.model, [found.layer for found in timed], self.subject) as judge:
            offered = {found.layer.name: self._offered(found, judge) for found in timed}
            choices = {name: [choice for choice, _ in own] for name, own in offered.items() if own}
            chains = {name: dict(own) for name, own in offered.items()}
            picks = choose(
                choices,
                {found.layer.name: found.own_seconds for found in timed},
                lambda picks: judge.together([chains[n][c] for n, c in picks.items()]),
                share * judge.tolerance,
            )
        for found in timed:
            name = found.layer.name
            if name in picks:
                self._tell(found, picks[name])
            elif choices.get(name):
                least = min(choice.loss for choice in choices[name])
                reason = f"its chains lose {least:.3g} of the outputs alone, which others spend better"
                self._skip(found.layer, reason)
        return [chains[name][choice] for name, choice in picks.items()]

    def _offered(self, found: _Timed, judge: Judge) -> list[tuple[Choice, Chain]]:
        """Return a layer's chains that lose less than all faster ones, and what they lose."""
        layer, kernel = found.layer, kernel_of(found.layer)
        choices = [
            Choice(option, time.seconds, kernel.error(option.method, option.rank, option.rank_in))
            for option, time in found.times.items()
        ]
        offered: list[tuple[Choice, Chain]] = []
        for choice in frontier([c for c in choices if c.error <= MAX_ERROR]):
            chain = chain_of(layer, kernel, choice.option, found.form)
            loss = judge.alone(chain)
            if loss < _LEAST_LOSS:
                self._skip(layer, f"what it answers moves no output on these inputs ({loss:.1g})")
                return []
            offered.append((replace(choice, loss=loss), chain))
        if not offered:
            least = min(choice.error for choice in choices)
            self._skip(
                layer, f"{len(choices)} faster chains lose {least:.3g} of its outputs, of {MAX_ERROR}"
            )
        return offered

    def _tell(self, found: _Timed, choice: Choice) -> None:
        layer, time = found.layer, found.times[choice.option]
        self.rewrites.append(
            Rewrite(
                NAME,
                layer.name,
                f"{layer.op_type} becomes {choice.option.described(layer)}: {time.ratio:.2f} of its time "
                f"in {found.form}, {choice.error:.3g} of its outputs lost",
            )
        )

    def _skip(self, layer: Layer, reason: str) -> None:
        self.skips.append(Skip(layer.name, NAME, reason))


def _why_not(layer: Layer, least_macs: float) -> str:
    """Return why a layer is not looked at, "" where it is."""
    if reason := reason_against(layer):
        return reason
    if (layer.macs or 0) < least_macs:
        return f"{layer.macs} of the model's {least_macs / _LEAST_MACS:.3g} multiply-accumulates"
    return "" if options_for(layer) else f"no factors of {layer.weight.shape} take fewer operations"


def _shapes_of(
    model: Model, sites: Sequence[Site], feeds: Feeds, stopwatch: Stopwatch
) -> dict[str, tuple[int, ...]]:
    """Return the shapes of what some nodes meet in a run, by name."""
    exposed, names = with_operand_outputs(model, [site.operand for site in sites])
    met: dict[str, Array] = dict(feeds)
    if names:
        with open_session(loadable(exposed), custom_ops=stopwatch.custom_ops) as session:
            met |= session.run(feeds)
    return {s.operand.value: met[names.get(s.operand.value, s.operand.value)].shape for s in sites}


def _why_undone(model: Model, changed: Model, chains: Sequence[Chain], subject: Subject) -> str:
    """Return why chains cannot stay: they do not answer as the weights do that they amount to."""
    feeds = subject.exact_feeds
    weights = {c.layer.name: c.layer.from_canonical(product(c.factors)) for c in chains}
    one = with_weights(model, [chain.layer for chain in chains], weights)
    with (
        open_session(loadable(one), custom_ops=subject.custom_ops) as before,
        open_session(loadable(changed), custom_ops=subject.custom_ops) as after,
    ):
        deviation = exact_deviation(list(run_all(before, feeds)), run_all(after, feeds)).value
    if deviation <= _LARGEST_DEVIATION:
        return ""
    return f"chains change outputs by {deviation:.2g} (limit {_LARGEST_DEVIATION:g}); undone"
