"""From a model to one in which some nodes are chains of thinner ones, where these are faster.

Which is decided by time: every chain is timed beside the nodes that it may stand for, in what they will
compute in. What it loses is measured on the whole model. The factors of the chains are weights like all
others to whatever comes after.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from onnxzip.errors import CalibrationError, ModelError, ProviderError
from onnxzip.graph import Model, loadable, with_chains
from onnxzip.measure.metrics.rel_l2 import exact_deviation
from onnxzip.measure.outputs.recorded_outputs import run_all
from onnxzip.measure.speed.stopwatch import Stopwatch
from onnxzip.measure.subject import Subject
from onnxzip.propose.factorising.able import able_layers
from onnxzip.propose.factorising.choosing import Choice, Picks, choose, frontier
from onnxzip.propose.factorising.judging import Judge
from onnxzip.propose.factorising.options import MAX_ERROR, NAME, Option, chain_of, kernel_of, options_for
from onnxzip.propose.factorising.times import OptionTimes, Place, Time, TimeModels, timer_for
from onnxzip.records.aliases import RunForm
from onnxzip.records.layer import Layer
from onnxzip.records.plan import Rewrite, Skip
from onnxzip.rewrite.prepare import with_weights
from onnxzip.runtime.session import open_session
from onnxzip.transforms.chains import Chain
from onnxzip.transforms.factorisation import product

FASTER = 0.9
"""Upper end of the interval of a chain's time over the node's: a chain that may be less than a tenth
faster costs accuracy for what other surroundings may well take back."""

_LEAST_SAVED = 0.06
"""Share of the time of all nodes that are timed: a chain that saves less is not worth any loss."""

_LEAST_SAVED_IN_ALL = 0.05
"""The same of all chains together: what they lose is better spent on fewer bytes otherwise."""

_LEAST_SENSITIVITY = 1e-5
"""Of the outputs' variation, for an error as large as the layer itself: what moves them by less is not
reached by the inputs (as in `choose.sensitivity`)."""

_LARGEST_DEVIATION = 1e-3
"""Between a chain and the weight that it amounts to: float32 rounds sums of another order to 1e-6 or
1e-5, wrong surgery changes everything."""


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
    """
    if subject.is_generated:
        return Factorised(model, (), [Skip("graph", NAME, _NO_DATA)])
    times = OptionTimes(time or timer_for(stopwatch))
    work = _Work(model, subject, forms or {}, times, show)
    try:
        return work.run(layers, stopwatch, share)
    except (ModelError, ProviderError, CalibrationError) as error:
        reason = f"its nodes cannot be looked at: {error.finding}"
        return Factorised(model, (), [*work.skips, Skip("graph", NAME, reason)])


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

    def run(self, layers: Sequence[Layer], stopwatch: Stopwatch, share: float) -> Factorised:
        """See `factorise`."""
        places, skips = able_layers(self.model, layers, self.subject, stopwatch)
        self.skips += skips
        chains = self.chosen(self.timed(places), share)
        if not chains:
            return Factorised(self.model, (), self.skips)
        changed = with_chains(self.model, chains)
        if reason := _why_undone(self.model, changed, chains, self.subject):
            return Factorised(self.model, (), [*self.skips, Skip("graph", NAME, reason)])
        return Factorised(changed, self.rewrites, self.skips)

    def timed(self, places: Mapping[Layer, Sequence[Place]]) -> list[_Timed]:
        """Return the layers that have options that are faster than their nodes, and these."""
        times: dict[Layer, Mapping[Option | None, Time]] = {}
        for layer, own in places.items():
            times[layer] = self.times.of(layer, own, self._form(layer), options_for(layer))
            self.show(len(times) / len(places))
        self._all_seconds = sum(own[None].seconds for own in times.values())
        least = _LEAST_SAVED * self._all_seconds
        found: list[_Timed] = []
        for layer, known in times.items():
            nodes, others = known[None], {o: t for o, t in known.items() if o is not None}
            faster = {o: t for o, t in others.items() if t.highest <= FASTER}
            worth = {o: t for o, t in faster.items() if nodes.seconds - t.seconds >= least}
            if worth:
                found.append(_Timed(layer, self._form(layer), nodes.seconds, worth))
                continue
            best = min(others.values(), key=lambda time: time.highest)
            self._skip(
                layer,
                f"{len(others)} chains timed in {self._form(layer)}: the fastest takes {best.ratio:.2f} "
                f"(up to {best.highest:.2f}) of the node's time"
                + ("" if faster else f", {FASTER} are wanted")
                + (f", which saves less than {_LEAST_SAVED:.0%} of all nodes'" if faster else ""),
            )
        return found

    def chosen(self, timed: Sequence[_Timed], share: float) -> list[Chain]:
        """Return the chains that are taken; say of all layers what became of them."""
        if not timed:
            return []
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
        if reason := self._why_too_little(timed, picks):
            self.skips.append(Skip("graph", NAME, reason))
            return []
        for found in timed:
            name = found.layer.name
            if name in picks:
                self._tell(found, picks[name])
            elif choices.get(name):
                least = min(choice.loss for choice in choices[name])
                reason = f"its chains lose {least:.3g} of the outputs alone, which others spend better"
                self._skip(found.layer, reason)
        return [chains[name][choice] for name, choice in picks.items()]

    def _why_too_little(self, timed: Sequence[_Timed], picks: Picks) -> str:
        """Return why what chains save together is not worth it, "" where it is, or there are none."""
        own = {found.layer.name: found.own_seconds for found in timed}
        saved = sum(own[name] - choice.seconds for name, choice in picks.items())
        share = saved / self._all_seconds if picks else _LEAST_SAVED_IN_ALL
        if share >= _LEAST_SAVED_IN_ALL:
            return ""
        return (
            f"{len(picks)} chains would save {share:.1%} of all nodes' time, "
            f"{_LEAST_SAVED_IN_ALL:.0%} are wanted"
        )

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
            if loss <= _LEAST_SENSITIVITY * choice.error:
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
                f"{layer.op_type} becomes {choice.option.described(layer)}: {time.ratio:.2f} of its "
                f"time in {found.form}, {choice.error:.3g} of its outputs lost",
            )
        )

    def _form(self, layer: Layer) -> RunForm:
        return self.forms.get(layer.name, "float32")

    def _skip(self, layer: Layer, reason: str) -> None:
        self.skips.append(Skip(layer.name, NAME, reason))


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
