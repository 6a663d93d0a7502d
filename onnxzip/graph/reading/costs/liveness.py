"""How much a run has in use at once, from the shapes of its values."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import onnx

from onnxzip.graph.reading.scope import reads_of


def most_in_use(
    nodes: Collection[onnx.NodeProto], sizes: Mapping[str, int], kept: Collection[str]
) -> int:
    """Return the most that nodes have in use at once, where each value goes after its last reader.

    Args:
        nodes: in the order in which they run.
        sizes: of what they make, by name; what is not there counts as nothing.
        kept: names of what stays to the end.
    """
    stays = frozenset(kept)
    last = {name: i for i, node in enumerate(nodes) for name in (*node.output, *reads_of(node))}
    ending: dict[int, list[str]] = {}
    made = {name for node in nodes for name in node.output}
    for name in made - stays:
        ending.setdefault(last[name], []).append(name)
    in_use = most = 0
    for i, node in enumerate(nodes):
        in_use += sum(sizes.get(name, 0) for name in node.output)
        most = max(most, in_use)
        in_use -= sum(sizes.get(name, 0) for name in ending.get(i, ()))
    return most
