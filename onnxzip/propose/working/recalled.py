"""Looks up what was measured of a model's weights, and what passes offered for them before."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from onnxzip.disk.cache.cache import Cache, Parts
from onnxzip.disk.cache.content import digest
from onnxzip.disk.cache.kinds import CANDIDATES, STATISTICS, Measured, Offers
from onnxzip.graph import Model, release_pages
from onnxzip.measure.moments.second_moments import LayerStatistics, collect_statistics, on_disk
from onnxzip.measure.subject import Subject
from onnxzip.passbase import Codec, Pass
from onnxzip.propose.offers import collect_offers
from onnxzip.propose.working.workers import Workers
from onnxzip.records.layer import Layer
from onnxzip.records.plan import Skip
from onnxzip.records.progress import ShowProgress, at


def content_of(model: Model) -> str:
    """Return the digest of a model's content, whatever its file is called."""
    found = digest(model.serialized(), model.arrays)
    release_pages(model.arrays.values())
    return found


def measured(
    model: Model,
    model_digest: str,
    layers: Sequence[Layer],
    subject: Subject,
    show: ShowProgress,
    cache: Cache,
) -> tuple[list[Layer], list[Skip]]:
    """Return the layers with the statistics of what they meet, and why some have none.

    Args:
        model: the model.
        model_digest: of its content, where there is a cache.
        layers: its weights.
        subject: what they are measured on.
        show: shows progress.
        cache: where all of them are looked up, or none: the model runs once for all.
    """
    feeds = subject.known_feeds
    views = [(layer.name, layer.layout, layer.weight.shape, layer.weight.dtype.name) for layer in layers]

    def parts_of(layer: Layer) -> Parts:
        return lambda: (model_digest, cache.digest(feeds), views, layer.name)

    known = cache.find_all(STATISTICS, [parts_of(layer) for layer in layers])
    if known is not None:
        found, skips = _joined(layers, known), list[Skip]()
    else:
        found, skips = collect_statistics(
            *(model, layers, feeds, subject.custom_ops),
            lambda fraction: show("statistics", at("statistics", fraction)),
        )
    if known is None and not skips:
        for layer in layers:
            own: Measured = (found.statistics.get(layer.name), found.row_weights.get(layer.name))
            cache.keep(STATISTICS, parts_of(layer), own)
    return [found.attach(layer) for layer in layers], skips


def _joined(layers: Sequence[Layer], known: Sequence[Measured]) -> LayerStatistics:
    """Return what is known of each layer as one record."""
    of_layers = [(layer.name, *own) for layer, own in zip(layers, known, strict=True)]
    return LayerStatistics(
        on_disk({name: own for name, own, _ in of_layers if own is not None}),
        {name: rows for name, _, rows in of_layers if rows is not None},
    )


def offered(
    layers: Sequence[Layer],
    passes: Mapping[str, Mapping[str, Pass]],
    codecs: Mapping[str, Codec],
    cache: Cache,
    workers: Workers,
) -> Iterator[tuple[int, Offers]]:
    """Yield the place of each layer and what passes offer for it; each is kept as soon as it is there.

    Args:
        layers: the layers.
        passes: that may work on each, by layer name and by their own.
        codecs: by layer name.
        cache: where they are looked up.
        workers: who works out the others.
    """

    def parts_of(layer: Layer) -> Parts:
        return lambda: (cache.digest(layer), passes[layer.name], codecs[layer.name])

    places: list[int] = []
    for place, layer in enumerate(layers):
        known = cache.find(CANDIDATES, parts_of(layer))
        if known is None:
            places.append(place)
        else:
            yield place, known
    some = [layers[place] for place in places]
    results = workers.work(
        collect_offers,
        [(layer, passes[layer.name], codecs[layer.name]) for layer in some],
        [layer.name for layer in some],
        [layer.weight.size for layer in some],
    )
    for i, offers, is_own in results:
        if is_own:
            cache.keep(CANDIDATES, parts_of(some[i]), offers)
        yield places[i], offers
