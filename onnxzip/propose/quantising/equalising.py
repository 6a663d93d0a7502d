"""Makes the channels of values alike before they are rounded, which changes no product.

A value that MatMul and Gemm nodes multiply is divided channel by channel, and the rows of their weights
are multiplied by the same numbers (channel_scales.py finds them). Where nobody else reads the value,
the division disappears in what makes it (division.py). Elsewhere - a residual sum reads the value too, a
Gelu makes it - a Mul does it, for what is rounded only.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from onnxzip.graph import GraphEditor, Model, prune
from onnxzip.measure.moments.channels import Channels, measure_channels
from onnxzip.measure.subject import Subject
from onnxzip.options import Options
from onnxzip.propose.quantising.channel_scales import Scales, best_scales
from onnxzip.propose.quantising.division import Change, Divider
from onnxzip.propose.quantising.region import (
    Multiplication,
    find_region,
    multiplications_of,
)
from onnxzip.propose.structure import Settled
from onnxzip.propose.weights import find_weights, is_kept
from onnxzip.records.plan import Rewrite, Skip
from onnxzip.records.progress import ShowProgress

PASS_NAME = "equalise"
"""What the report calls it."""

_WORTH = 0.8
"""Largest share of a product's error that scales may leave: what gains less moves nothing at the outputs
of all-MiniLM-L6-v2. A Mul costs little: 24 of them take a hundredth of that model's time in float32."""


@dataclass(frozen=True, eq=False)
class Equalised:
    """A model whose values are divided channel by channel where that helps.

    Attributes:
        model: computes what it computed before.
        rewrites: what was done.
        skips: what was left, and why.
    """

    model: Model
    rewrites: Sequence[Rewrite]
    skips: Sequence[Skip]


@dataclass(frozen=True, eq=False)
class Group:
    """All nodes that multiply one value by weights in int8.

    Attributes:
        value: its name.
        members: the nodes.
        is_made: whether the value comes in int8 from what makes it, so that no Mul can be between.
    """

    value: str
    members: Sequence[Multiplication]
    is_made: bool

    def reduced(self, outputs: Collection[str]) -> Group:
        """Return the group of those whose outputs are named."""
        members = [m for m in self.members if m.node.outputs[0] in outputs]
        return Group(self.value, members, self.is_made)

    @property
    def weight(self) -> str:
        """The first weight, which messages name."""
        return self.members[0].weight


class Equaliser:
    """Equalises a model, all of it or only what computes in int8 in the end."""

    def __init__(self, settled: Settled, subject: Subject, options: Options, show: ShowProgress) -> None:
        """Find what multiplies, and measure the channels that it meets."""
        self._settled, self._keep = settled, options.keep
        self._groups = groups_of(settled.model, self._may_change)
        self._channels = measure_channels(
            settled.model,
            [group.value for group in self._groups],
            subject.known_feeds,
            subject.custom_ops,
            lambda fraction: show("channels", 0.1 * fraction),
        )

    def _may_change(self, name: str) -> bool:
        return not is_kept(name, self._keep)

    def equalised(self, outputs: Collection[str] | None = None) -> Settled:
        """Return the model with channels made alike.

        Args:
            outputs: of the nodes that compute in int8, no others are looked at; None for all.
        """
        groups = (
            [group.reduced(outputs) for group in self._groups] if outputs is not None else self._groups
        )
        found = equalise(self._settled.model, groups, self._channels, self._may_change)
        return Settled(
            found.model,
            find_weights(found.model, self._keep),
            [*self._settled.rewrites, *found.rewrites],
            [*self._settled.skips, *found.skips],
        )


def groups_of(model: Model, may_change: Callable[[str], bool]) -> list[Group]:
    """Return the groups of a model, in topological order.

    Those of a Conv are left out: its channels are another axis.

    Args:
        model: the model.
        may_change: whether a constant may, by its name.
    """
    editor = GraphEditor(model.copy())
    found = [m for m in multiplications_of(editor) if may_change(m.weight)]
    region = find_region(editor, found)
    members: dict[str, list[Multiplication]] = {}
    for multiplication in region.multiplications:
        members.setdefault(multiplication.data, []).append(multiplication)
    return [
        Group(value, found, value in region.made)
        for value, found in members.items()
        if all(m.node.op_type != "Conv" for m in found)
    ]


def equalise(
    model: Model,
    groups: Sequence[Group],
    channels: Mapping[str, Channels],
    may_change: Callable[[str], bool],
) -> Equalised:
    """Divide the values of groups channel by channel where their products lose less then.

    Args:
        model: the model that the groups are of.
        groups: what multiplies.
        channels: of the groups' values.
        may_change: whether a constant may, by its name.
    """
    changed = model.copy()
    editor = GraphEditor(changed)
    divider = Divider(editor, may_change)
    records = [
        _record_of(group, channels.get(group.value), divider) for group in groups if group.members
    ]
    if any(isinstance(record, Rewrite) for record in records):
        editor.commit()
        prune(changed)
    else:
        changed = model
    return Equalised(
        changed,
        [record for record in records if isinstance(record, Rewrite)],
        [record for record in records if isinstance(record, Skip)],
    )


def _record_of(group: Group, channels: Channels | None, divider: Divider) -> Rewrite | Skip:
    """Divide the value of a group, or say why not."""
    weights = {m.weight: divider.weight(m) for m in group.members}
    shared = [name for name in weights if divider.editor.n_uses(name) > 1]
    if shared:
        return _skip(group, f"{shared[0]!r} multiplies several values")
    if channels is None or {len(w) for w in weights.values()} != {len(channels.lows)}:
        return _skip(group, "the ranges of its input's channels are not known")
    scales = best_scales(channels, np.concatenate(list(weights.values()), axis=1))
    errors = f"rounding to int8 costs {scales.before:.2g} of the products"
    share = scales.after / scales.before if scales.before > 0 else 1.0
    changes = divider.changes(group.value, [m.node.key for m in group.members], len(scales.divisors))
    if share > _WORTH:
        return _skip(group, f"{errors}, {scales.after:.2g} with channels divided: not worth it")
    if changes is None and group.is_made:
        return _skip(group, "its input's channels are rounded where they are made")
    where = _divide(group, scales, changes, divider)
    return Rewrite(
        PASS_NAME, group.weight, f"{errors}, {scales.after:.2g} with channels divided {where}"
    )


def _skip(group: Group, reason: str) -> Skip:
    return Skip(group.weight, PASS_NAME, reason)


def _divide(group: Group, scales: Scales, changes: Sequence[Change] | None, divider: Divider) -> str:
    """Divide a value, and multiply the rows of its weights; say where it is divided."""
    inverse = np.asarray(1 / scales.divisors, np.float32)
    for member in group.members:
        divider.multiply(Change(member.node, 1, 1 - member.axis), scales.divisors)
    if changes is not None:
        for change in changes:
            divider.multiply(change, inverse)
        return "in what makes them"
    factors = divider.editor.add_constant(inverse, "factors")
    divided = divider.editor.add_node("Mul", [group.value, factors], group.value, {})
    for member in group.members:
        divider.read(member.node, 0, divided)
    return "by a Mul"
