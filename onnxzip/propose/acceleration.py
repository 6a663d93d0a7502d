"""From a model whose structure is settled to one that runs faster, before any weight is made smaller."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from onnxzip.errors import CalibrationError, ModelError, ProviderError, ToleranceError
from onnxzip.graph import DECODE_OPSET, GraphEditor, Model, hoist_weights, with_node_names
from onnxzip.inputs.feedset import interleaved
from onnxzip.measure.moments.value_ranges import measure_ranges
from onnxzip.measure.speed.stopwatch import Stopwatch, stopwatch_for
from onnxzip.measure.subject import Subject
from onnxzip.options import Options
from onnxzip.propose.factorising.rewriting import factorise
from onnxzip.propose.quantising.builds import Build, Workbench
from onnxzip.propose.quantising.choice import LOSES, NO_KERNEL, TAKES, Chooser
from onnxzip.propose.quantising.equalising import Equaliser
from onnxzip.propose.quantising.gemms import with_gemms
from onnxzip.propose.quantising.landing import Landing, land
from onnxzip.propose.quantising.region import multiplications_of
from onnxzip.propose.structure import Draft, Settled, settle_structure
from onnxzip.propose.weights import find_weights
from onnxzip.records.aliases import Array, RunForm
from onnxzip.records.costs.latency import Speed
from onnxzip.records.plan import Rewrite, Skip
from onnxzip.records.progress import ShowProgress, at, within
from onnxzip.report.tables.latency import conditions
from onnxzip.rewrite.landed import Landed

_FACTORISED_SHARE = 0.4
"""Of the tolerance, that chains of factors may lose: 0.16 in squares. Factors of few directions are
faster and take fewer bytes than those of many: with 0.15 / 0.4 vgg8 takes 0.28 / 0.21 of float32's time
and 289 / 215 kB, without any 0.33 and 173 kB (`python -m tests.bench.constants
onnxzip.propose.acceleration:_FACTORISED_SHARE 0.15 0.4`)."""


_DONE_BEFORE, _DONE_HERE = at("checking what was folded"), 0.3
"""Fractions of the whole work: of vgg8's two minutes this takes 25 to 45 s."""


@dataclass(frozen=True, eq=False)
class Accelerated:
    """A model that runs faster once its weights have landed.

    Attributes:
        settled: the model while weights are chosen: they are float32, what they meet is rounded.
        landings: the weights that end as int8.
        stopwatch: what times are measured with; None where none are.
    """

    settled: Settled
    landings: Sequence[Landing] = ()
    stopwatch: Stopwatch | None = None

    def landed(self, model: Model, restored: Callable[[str], Array | None]) -> Landed:
        """Return the model with weights as they run.

        Args:
            model: `settled.model`, with other constants at most.
            restored: returns what a plan makes of a weight by name, None where it leaves it alone.
        """
        if not self.landings:
            return Landed(model)
        originals = {layer.name: layer.weight for layer in self.settled.weights.layers}
        return land(model, self.landings, originals, restored)

    def behind(self, show: ShowProgress) -> ShowProgress:
        """Return what shows the work that follows as what is left of the whole."""
        return show if self.stopwatch is None else within(show, _DONE_BEFORE + _DONE_HERE, 1.0)

    def compare(self, original: Model, emitted: Model) -> Speed | None:
        """Time the compressed model beside its original; None where speed was not asked for."""
        return None if self.stopwatch is None else self.stopwatch.compare(original, emitted)


def accelerate(draft: Draft, subject: Subject, options: Options, show: ShowProgress) -> Accelerated:
    """Settle the model's structure; let nodes be faster ones, if that was asked for.

    Raises:
        ModelError: an old opset cannot be raised exactly.
        ToleranceError: nothing in the model is faster in another form.
        UsageError: the model does not take as many samples in a run as `batch` says.
    """
    settled = settle_structure(draft, subject, options)
    if options.objective != "speed":
        return Accelerated(settled)
    shown = within(show, _DONE_BEFORE, _DONE_BEFORE + _DONE_HERE)
    stopwatch = stopwatch_for(draft.original, subject, options)
    work = _Work(draft.original, subject, options, stopwatch, shown)
    made = work.run(settled)
    if made.settled.is_exact and not options.best_effort:
        found = _what_was_found(made.settled.skips, work.stopwatch)
        raise ToleranceError(
            f"{draft.original.source}: nothing in it is faster in int8 or factorised {found}; ask for "
            "`objective` size, or try another `batch`, other `threads` or a larger `tolerance`"
        )
    return made


def _what_was_found(skips: Sequence[Skip], stopwatch: Stopwatch) -> str:
    """Say what nodes were timed with, and the reason that most of them stay in float32 for."""
    kinds = {
        LOSES: "lose more than their share of it in int8",
        TAKES: "take as long in int8",
        NO_KERNEL: "have no int8 kernel",
    }
    reasons = [skip.reason for skip in skips if skip.pass_name == "int8"]
    counts = Counter(next((told for k, told in kinds.items() if r.startswith(k)), r) for r in reasons)
    told = [f"{n} nodes {kind}" if kind in kinds.values() else kind for kind, n in counts.most_common()]
    most = f": {', '.join(told)}" if told else ""
    return f"within the tolerance ({conditions(stopwatch)}){most}"


@dataclass(frozen=True, eq=False)
class _Work:
    """What makes a model faster, step by step."""

    original: Model
    subject: Subject
    options: Options
    stopwatch: Stopwatch
    show: ShowProgress

    def run(self, settled: Settled) -> Accelerated:
        """Factorise and quantise, or only what of it is faster."""
        if settled.model.opset < DECODE_OPSET:
            return self._unquantised(settled, [])  # a skip says so already
        with_biases = self._with_gemms(settled)
        equalised = Equaliser(with_biases, self.subject, self.options, self.show).equalised()
        forms: dict[str, RunForm] = {
            m.weight: "dynamic int8" if m.is_dynamic else "int8"
            for m in multiplications_of(GraphEditor(equalised.model.copy()))
        }
        thinner = self._factorised(equalised, forms)
        build, skips = self._quantised(thinner)
        if build is None:
            return self._unquantised(settled, skips)
        return Accelerated(self._rounded(thinner, build, skips), build.landings, self.stopwatch)

    def _with_gemms(self, settled: Settled) -> Settled:
        """Let products with a bias be Gemms."""
        try:
            model = with_gemms(settled.model, self.subject)
        except (ModelError, ProviderError):  # what asks for more of its values says why
            return settled
        if model is settled.model:
            return settled
        return replace(settled, model=model, weights=find_weights(model, self.options.keep))

    def _unquantised(self, settled: Settled, skips: Sequence[Skip]) -> Accelerated:
        """Factorise alone: what nodes are rounded by is of no use to others."""
        thinner = self._factorised(settled, {})
        thinner = replace(thinner, skips=[*thinner.skips, *skips])
        return Accelerated(thinner, (), self.stopwatch)

    def _factorised(self, settled: Settled, forms: Mapping[str, RunForm]) -> Settled:
        """Let chains of thinner nodes stand for nodes that take longer in what they will compute in."""
        made = factorise(
            *(settled.model, settled.weights.layers, self.subject, self.stopwatch),
            share=_FACTORISED_SHARE,
            forms=forms,
            show=lambda fraction: self.show("timing factors", 0.1 + 0.6 * fraction),
        )
        changed = replace(settled, skips=[*settled.skips, *made.skips])
        if not made.rewrites:
            return changed
        weights = find_weights(made.model, self.options.keep)
        rewrites = [*settled.rewrites, *made.rewrites]
        return replace(changed, model=made.model, weights=weights, rewrites=rewrites, is_exact=False)

    def _quantised(self, settled: Settled) -> tuple[Build | None, Sequence[Skip]]:
        """Let nodes compute in int8; None where that is not faster."""
        subject = self.subject
        weights = {layer.name for layer in settled.weights.layers}
        model = with_node_names(settled.model).copy()
        hoist_weights(model, weights & {m.weight for m in multiplications_of(GraphEditor(model))})
        bench = Workbench(model, weights)
        if not bench.candidates:
            reason = "no node of the main graph multiplies by a float32 weight in a form that int8 has"
            return None, [Skip("graph", "int8", reason)]
        feeds = subject.known_feeds
        if subject.is_generated:  # of all kinds, as each is judged
            feeds = interleaved([sample.feeds for sample in subject.samples])
        try:
            ranges = measure_ranges(
                model,
                bench.values,
                feeds,
                subject.custom_ops,
                lambda fraction: self.show("ranges", 0.7 + 0.1 * fraction),
            )
            bench.set_ranges(ranges, cuts=not subject.is_generated)
            choice = Chooser(model, subject, self.stopwatch, self.show).choose(bench)
        except (ModelError, CalibrationError, ProviderError) as error:
            finding = error.finding.removeprefix(f"{self.original.source}: ")
            return None, [Skip("graph", "int8", f"the model in int8 cannot be looked at: {finding}")]
        return choice.build, choice.skips

    def _rounded(self, settled: Settled, build: Build, skips: Sequence[Skip]) -> Settled:
        """Return the model of a build while its weights are chosen."""
        found = find_weights(build.model, self.options.keep)
        integers = {bias for landing in build.landings for bias in landing.integer_biases}
        weights = replace(
            found,
            layers=[layer for layer in found.layers if layer.name not in integers],
            small=[layer for layer in found.small if layer.name not in integers],
        )
        rewrites = [
            Rewrite("int8", m.weight, f"{m.node.op_type} computes in int8")
            for m in build.region.multiplications
        ]
        return Settled(
            build.model,
            weights,
            [*settled.rewrites, *rewrites],
            [*settled.skips, *skips],
            is_exact=False,
        )
