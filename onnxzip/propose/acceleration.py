"""From a model whose structure is settled to one that runs faster, before any weight is made smaller."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from onnxzip.graph import DECODE_OPSET, GraphEditor, Model, with_node_names
from onnxzip.inputs.feedset import interleaved
from onnxzip.measure.moments.value_ranges import measure_ranges
from onnxzip.measure.speed.stopwatch import Stopwatch, stopwatch_for
from onnxzip.measure.subject import Subject
from onnxzip.options import Options
from onnxzip.propose.factorising.rewriting import factorise
from onnxzip.propose.quantising.builds import Workbench
from onnxzip.propose.quantising.choice import Chooser
from onnxzip.propose.quantising.equalising import Equaliser
from onnxzip.propose.quantising.landing import Landing, land
from onnxzip.propose.quantising.region import multiplications_of
from onnxzip.propose.structure import Draft, Settled, settle_structure
from onnxzip.propose.weights import find_weights
from onnxzip.records.aliases import Array, RunForm
from onnxzip.records.costs.latency import Speed
from onnxzip.records.plan import Rewrite, Skip
from onnxzip.records.progress import ShowProgress, at
from onnxzip.rewrite.landed import Landed

_FACTORISED_SHARE = 0.4
"""Of the tolerance, that chains of factors may lose: 0.16 in squares. Factors of few directions are
faster and take fewer bytes than those of many: with 0.15 / 0.4 vgg8 takes 0.28 / 0.21 of float32's time
and 289 / 215 kB, without any 0.33 and 173 kB (`python -m tests.bench.constants
onnxzip.propose.acceleration:_FACTORISED_SHARE 0.15 0.4`)."""


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

    def compare(self, original: Model, emitted: Model) -> Speed | None:
        """Time the compressed model beside its original; None where speed was not asked for."""
        return None if self.stopwatch is None else self.stopwatch.compare(original, emitted)


def accelerate(draft: Draft, subject: Subject, options: Options, show: ShowProgress) -> Accelerated:
    """Settle the model's structure; let nodes be faster ones, if that was asked for.

    Raises:
        ModelError: an old opset cannot be raised exactly.
        UsageError: the model does not take as many samples in a run as `batch` says.
    """
    settled = settle_structure(draft, subject, options)
    if options.objective != "speed":
        return Accelerated(settled)
    stopwatch = stopwatch_for(draft.original, subject, options)
    if settled.model.opset < DECODE_OPSET:
        return _unchanged(settled, [], stopwatch)  # a skip says so already
    equalised = Equaliser(settled, subject, options, show).equalised()
    thinner = _factorised(equalised, subject, options, stopwatch, show)
    return _quantised(thinner, subject, options, stopwatch, show)


def _factorised(
    settled: Settled,
    subject: Subject,
    options: Options,
    stopwatch: Stopwatch,
    show: ShowProgress,
) -> Settled:
    """Let chains of thinner nodes stand for nodes that take longer in what they will compute in."""
    model = settled.model
    forms: dict[str, RunForm] = {
        m.weight: "dynamic int8" if m.is_dynamic else "int8"
        for m in multiplications_of(GraphEditor(model.copy()))
    }
    made = factorise(
        *(model, settled.weights.layers, subject, stopwatch),
        share=_FACTORISED_SHARE,
        forms=forms,
        show=lambda fraction: show("timing factors", at("statistics", fraction / 2)),
    )
    changed = replace(settled, skips=[*settled.skips, *made.skips])
    if not made.rewrites:
        return changed
    weights, rewrites = find_weights(made.model, options.keep), [*settled.rewrites, *made.rewrites]
    return replace(changed, model=made.model, weights=weights, rewrites=rewrites, is_exact=False)


def _quantised(
    settled: Settled, subject: Subject, options: Options, stopwatch: Stopwatch, show: ShowProgress
) -> Accelerated:
    """Let nodes compute in int8."""
    model = with_node_names(settled.model)
    bench = Workbench(model, {layer.name for layer in settled.weights.layers})
    if not bench.candidates:
        reason = "no node multiplies by a float32 weight of the main graph in a form that runs in int8"
        return _unchanged(settled, [Skip("graph", "int8", reason)], stopwatch)
    ranges = measure_ranges(
        model,
        bench.values,
        interleaved([s.feeds for s in subject.samples]) if subject.is_generated else subject.known_feeds,
        subject.custom_ops,
        lambda fraction: show("ranges", at("statistics", (1 + fraction) / 2)),
    )
    bench.set_ranges(ranges, cuts=not subject.is_generated)
    choice = Chooser(model, subject, stopwatch, show).choose(bench)
    if choice.build is None:
        return _unchanged(settled, choice.skips, stopwatch)
    build = choice.build
    rewrites = [
        Rewrite("int8", m.weight, f"{m.node.op_type} computes in int8")
        for m in build.region.multiplications
    ]
    found = find_weights(build.model, options.keep)
    integers = {bias for landing in build.landings for bias in landing.integer_biases}
    changed = Settled(
        build.model,
        replace(
            found,
            layers=[layer for layer in found.layers if layer.name not in integers],
            small=[layer for layer in found.small if layer.name not in integers],
        ),
        [*settled.rewrites, *rewrites],
        [*settled.skips, *choice.skips],
        is_exact=False,
    )
    return Accelerated(changed, build.landings, stopwatch)


def _unchanged(settled: Settled, skips: Sequence[Skip], stopwatch: Stopwatch) -> Accelerated:
    return Accelerated(replace(settled, skips=[*settled.skips, *skips]), (), stopwatch)
