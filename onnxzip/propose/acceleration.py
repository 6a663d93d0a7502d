"""From a model whose structure is settled to one that runs faster, before any weight is made smaller."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from onnxzip.graph import GraphEditor, Model
from onnxzip.measure.moments.value_ranges import measure_ranges
from onnxzip.measure.subject import Subject
from onnxzip.options import Options
from onnxzip.propose.quantising.equalising import Equaliser
from onnxzip.propose.quantising.grid import grid_of
from onnxzip.propose.quantising.region import find_region, multiplications_of
from onnxzip.propose.quantising.surgery import Landing, land, steps_of, with_rounded_values
from onnxzip.propose.structure import Settled
from onnxzip.propose.weights import find_weights
from onnxzip.records.aliases import Array
from onnxzip.records.plan import Rewrite
from onnxzip.records.progress import ShowProgress, at


@dataclass(frozen=True, eq=False)
class Accelerated:
    """A model that runs faster once its weights have landed.

    Attributes:
        settled: the model while weights are chosen: they are float32, what they meet is rounded.
        landings: the weights that end as int8.
    """

    settled: Settled
    landings: Sequence[Landing] = field(default_factory=tuple)

    def landed(self, model: Model, restored: Callable[[str], Array | None]) -> Model:
        """Return the model with weights as they run.

        Args:
            model: `settled.model`, with other constants at most.
            restored: returns what a plan makes of a weight by name, None where it leaves it alone.
        """
        if not self.landings:
            return model
        originals = {t.name: t for t in model.proto.graph.initializer}
        steps = {}
        for landing in self.landings:
            weight = restored(landing.weight)
            array = model.array(originals[landing.weight]) if weight is None else weight
            steps[landing.weight] = steps_of(np.asarray(array), landing.axis)
        return land(model, self.landings, steps)


def accelerate(settled: Settled, subject: Subject, options: Options, show: ShowProgress) -> Accelerated:
    """Let nodes compute in int8, where that was asked for."""
    if options.objective != "speed":
        return Accelerated(settled)
    settled = Equaliser(settled, subject, options, show).equalised()
    model = settled.model
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
    changed = replace(
        settled,
        model=rounded,
        weights=find_weights(rounded, options.keep),
        rewrites=[*settled.rewrites, *rewrites],
    )
    return Accelerated(changed, landings)
