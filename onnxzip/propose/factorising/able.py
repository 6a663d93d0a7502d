"""Which layers' nodes could be chains: what is known of what they meet, and where they are used."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from onnxzip.graph import Model, Site, annotate_layers, find_sites, loadable, with_operand_outputs
from onnxzip.measure.moments.second_moments import collect_statistics
from onnxzip.measure.speed.stopwatch import Stopwatch
from onnxzip.measure.subject import Subject
from onnxzip.propose.factorising.options import NAME, options_for
from onnxzip.propose.factorising.times import Place
from onnxzip.records.aliases import Array, Feeds
from onnxzip.records.layer import Layer
from onnxzip.records.plan import Skip
from onnxzip.runtime.session import open_session
from onnxzip.transforms.chains import reason_against

_LEAST_MACS = 0.005
"""Share of the model's multiply-accumulates below which no layer is looked at: a tenth of it would not
show in the model's time."""


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
    feeds = max(stopwatch.feeds, key=lambda run: sum(array.size for array in run.values()))
    shapes = {name: array.shape for name, array in feeds.items()}
    known = [la for la in annotate_layers(model, layers, shapes) if la.weight.ndim > 1]
    least = _LEAST_MACS * sum(layer.macs or 0 for layer in known)
    sites = find_sites(model, known)
    reasons = {layer: _why_not(layer, sites[layer.name], least) for layer in known}
    able = [layer for layer, reason in reasons.items() if not reason]
    skips = [Skip(layer.name, NAME, reason) for layer, reason in reasons.items() if reason]
    measured, unmeasured = collect_statistics(
        model, able, subject.known_feeds, subject.custom_ops, lambda fraction: None
    )
    met = _shapes_of(model, [s for layer in able for s in sites[layer.name]], feeds, stopwatch)
    places: dict[Layer, list[Place]] = {}
    for layer in map(measured.attach, able):
        if layer.statistics is None or layer.statistics.n_blocks > 1:
            reason = f"no second moment of the {layer.n_columns} numbers that it meets is known"
            skips.append(Skip(layer.name, NAME, reason))
        else:
            places[layer] = [Place(s, met[s.operand.value]) for s in sites[layer.name]]
    return places, [*skips, *unmeasured]


def _why_not(layer: Layer, sites: Sequence[Site], least_macs: float) -> str:
    """Return why a layer is not looked at, "" where it is."""
    if reason := reason_against(layer):
        return reason
    if not sites:
        return "other nodes read it, too"
    if (layer.macs or 0) < least_macs:
        share = (layer.macs or 0) / least_macs * _LEAST_MACS
        return f"{share:.2%} of the model's multiply-accumulates, {_LEAST_MACS:.2%} are wanted"
    return "" if options_for(layer) else f"no factors of {layer.weight.shape} take fewer operations"


def _shapes_of(
    model: Model, sites: Sequence[Site], feeds: Feeds, stopwatch: Stopwatch
) -> Mapping[str, tuple[int, ...]]:
    """Return the shapes of what some nodes meet in a run, by name."""
    exposed, names = with_operand_outputs(model, [site.operand for site in sites])
    met: dict[str, Array] = dict(feeds)
    if names:
        with open_session(loadable(exposed), custom_ops=stopwatch.custom_ops) as session:
            met |= session.run(feeds)
    found: dict[str, tuple[int, ...]] = {}
    for site in sites:
        value = site.operand.value
        found[value] = met[names.get(value, value)].shape
    return found
