"""From a model whose structure is settled to one that runs faster, before any weight is made smaller."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from onnxzip.graph import DECODE_OPSET, GraphEditor, Model
from onnxzip.measure.moments.value_ranges import measure_ranges
from onnxzip.measure.subject import Subject
from onnxzip.options import Options
from onnxzip.propose.quantising.grid import grid_of
from onnxzip.propose.quantising.landing import Landing, land
from onnxzip.propose.quantising.region import find_region, multiplications_of
from onnxzip.propose.quantising.surgery import with_rounded_values
from onnxzip.propose.structure import Settled
from onnxzip.propose.weights import find_weights
from onnxzip.records.aliases import Array
from onnxzip.records.plan import Rewrite
from onnxzip.records.progress import ShowProgress, at
from onnxzip.rewrite.landed import Landed


@dataclass(frozen=True, eq=False)
class Accelerated:
    """A model that runs faster once its weights have landed.

    Attributes:
        settled: the model while weights are chosen: they are float32, what they meet is rounded.
        landings: the weights that end as int8.
    """

    settled: Settled
    landings: Sequence[Landing] = field(default_factory=tuple)

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


def accelerate(settled: Settled, subject: Subject, options: Options, show: ShowProgress) -> Accelerated:
    """Let nodes compute in int8, where that was asked for."""
    model = settled.model
    if options.objective != "speed" or model.opset < DECODE_OPSET:
        return Accelerated(settled)
    editor = GraphEditor(model.copy())
    names = {layer.name for layer in settled.weights.layers}
    chosen = [m for m in multiplications_of(editor) if m.weight in names]
    region = find_region(editor, chosen, lambda node: True)
    ranges = measure_ranges(
        model,
        list(dict.fromkeys(region.rounded.values())),
        subject.known_feeds,
        subject.custom_ops,
        lambda fraction: show("ranges", at("statistics", fraction)),
    )
    grids = {value: grid_of(found, cuts=not subject.is_generated) for value, found in ranges.items()}
    rounded, landings = with_rounded_values(model, region, grids)
    rewrites = [
        Rewrite("int8", m.weight, f"{m.node.op_type} computes in int8") for m in region.multiplications
    ]
    found = find_weights(rounded, options.keep)
    integers = {bias for landing in landings for bias in landing.integer_biases}
    changed = replace(
        settled,
        model=rounded,
        weights=replace(found, small=[layer for layer in found.small if layer.name not in integers]),
        rewrites=[*settled.rewrites, *rewrites],
    )
    return Accelerated(changed, landings)
