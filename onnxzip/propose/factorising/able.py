"""Which layers' nodes could be chains: what is known of what they meet, and where they are used."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from onnxzip.graph import Model, Operand, Site, find_sites, loadable, with_operand_outputs
from onnxzip.measure.moments.second_moments import collect_statistics
from onnxzip.measure.moments.value_groups import ValueGroups
from onnxzip.measure.speed.stopwatch import Stopwatch
from onnxzip.measure.subject import Subject
from onnxzip.propose.factorising.options import NAME, options_for
from onnxzip.propose.factorising.times import Place
from onnxzip.records.layer import Layer
from onnxzip.records.plan import Skip
from onnxzip.runtime.session import open_session
from onnxzip.transforms.chains import reason_against

_LEAST_MACS = 0.005
"""Share of the multiply-accumulates below which no layer is looked at: what it saves would not show."""


def able_layers(
    model: Model, layers: Sequence[Layer], subject: Subject, stopwatch: Stopwatch
) -> tuple[dict[Layer, list[Place]], list[Skip]]:
    """Return the layers that options exist for, with statistics, and where they are used.

    Args:
        model: the model.
        layers: its weights that may change.
        subject: has the inputs that statistics are of.
        stopwatch: has the inputs whose largest run decides what shapes nodes meet.

    Returns:
        The layers, and why others are not among them; of vectors, such as biases, nothing is said.
    """
    known = [layer for layer in layers if layer.weight.ndim > 1]
    sites = find_sites(model, known)
    reasons = {layer: _why_not(layer, sites[layer.name]) for layer in known}
    able = [layer for layer, reason in reasons.items() if not reason]
    shapes = _shapes_of(model, [site for la in able for site in sites[la.name]], stopwatch)
    macs = {la: sum(_macs(la, shapes[s.output]) for s in sites[la.name]) for la in able}
    total = max(sum(macs.values()), 1)
    for layer in able:
        if (share := macs[layer] / total) < _LEAST_MACS:
            few = f"{share:.2%} of the multiply-accumulates of all that could be chains"
            reasons[layer] = f"{few}, {_LEAST_MACS:.2%} are wanted"
    skips = [Skip(layer.name, NAME, reason) for layer, reason in reasons.items() if reason]
    able = [layer for layer in able if not reasons[layer]]
    measured, unmeasured = collect_statistics(
        model, able, subject.known_feeds, subject.custom_ops, lambda fraction: None
    )
    places: dict[Layer, list[Place]] = {}
    for layer in map(measured.attach, able):
        if layer.statistics is None or layer.statistics.n_blocks > 1:
            reason = f"no second moment of the {layer.n_columns} numbers that it meets is known"
            skips.append(Skip(layer.name, NAME, reason))
        else:
            places[layer] = [Place(s, shapes[s.operand.value]) for s in sites[layer.name]]
    return places, [*skips, *unmeasured]


def _why_not(layer: Layer, sites: Sequence[Site]) -> str:
    """Return why a layer is not looked at, "" where it is."""
    if reason := reason_against(layer):
        return reason
    if not sites:
        return "it is not multiplied by what is fed or computed, or other nodes read it, too"
    return "" if options_for(layer) else f"no factors of {layer.weight.shape} take fewer operations"


def _macs(layer: Layer, made: tuple[int, ...]) -> int:
    """Return the multiply-accumulates of a node that makes a value of some shape."""
    return int(np.prod(made, dtype=np.int64)) * layer.n_columns


def _shapes_of(
    model: Model, sites: Sequence[Site], stopwatch: Stopwatch
) -> Mapping[str, tuple[int, ...]]:
    """Return the shapes of what some nodes meet and make in the largest run, by name."""
    feeds = max(stopwatch.feeds, key=lambda run: sum(array.size for array in run.values()))
    outputs = [Operand(site.output, site.operand.op_type, 0, ()) for site in sites]
    exposed, names = with_operand_outputs(model, [*(site.operand for site in sites), *outputs])
    found = {name: array.shape for name, array in feeds.items()}
    if names:
        with open_session(loadable(exposed), custom_ops=stopwatch.custom_ops) as session:
            for values in ValueGroups(session, list(names.values())).run(feeds):
                found |= {name: array.shape for name, array in values.items()}
    return found
