"""The ids that each input of a graph may hold, by the tables that they index."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Iterator
from dataclasses import replace

import onnx

from onnxzip.graph.reading.indices.demands import Demand, Part, between
from onnxzip.graph.reading.indices.frames import Frame, main_frame
from onnxzip.graph.reading.indices.inverses import asked_of_inputs
from onnxzip.graph.reading.indices.lookups import lookups
from onnxzip.graph.reading.model import Model
from onnxzip.graph.reading.tensors import tensor_dtype

_GENERATORS = ("BeamSearch", "GreedySearch", "Sampling")
"""onnxruntime's loops over a decoder: the first input of each of their graphs holds tokens."""


def index_ranges(model: Model) -> dict[str, range]:
    """Return, for each graph input by which something is looked up, the ids that are legal there.

    From each lookup (Gather, OneHot, EmbedLayerNormalization, ...) the ids are followed back through
    what moves, converts, shifts or limits them, out of and into nested graphs and local functions. Of
    several tables the smallest counts; where a Clip or a Mod makes every id legal, those that make a
    difference are returned. Ranges hold negative ids only where the model adds to them. An input of
    floats of which only some places are ids has none.
    """
    main, search = _searched(model)
    found = {}
    for value in main.graph.input:
        asked = search.of(main, value.name)
        whole = asked.pop(None, None)
        if whole is None and asked and (_is_integer(value) or _is_covered(main, value.name, asked)):
            whole = next(iter(asked.values()))
        for demand in asked.values() if whole is not None else ():
            whole = whole and whole.met_with(demand)
        ids = range(0) if whole is None else _representable(whole.ids, value)
        if ids:
            found[value.name] = ids
    return found


def part_ranges(model: Model) -> dict[str, dict[tuple[int, int], range]]:
    """Return the ids that are legal at places of graph inputs whose columns index different tables.

    Returns:
        By input, by axis and place on it (x[:, 2] is (1, 2)), the ids that are legal there. All places
        of an input are on one axis: that with the most of them.
    """
    main, search = _searched(model)
    found: dict[str, dict[tuple[int, int], range]] = {}
    for value in main.graph.input:
        asked = search.of(main, value.name)
        whole = asked.pop(None, None)
        places = [part for part in asked if part is not None]
        axis = Counter(axis for axis, _ in places).most_common(1)
        for part in (part for part in sorted(places) if part[0] == axis[0][0]):
            demand = asked[part] if whole is None else asked[part].met_with(whole)
            ids = _representable(demand.ids, value)
            if ids:
                found.setdefault(value.name, {})[part] = ids
    return found


def _searched(model: Model) -> tuple[Frame, _Search]:
    """Return the main graph, and what all lookups of a model ask."""
    main, search = main_frame(model), _Search()
    for frame in main.everything():
        for node in frame.graph.node:
            for name, demand in lookups(frame, node):
                search.ask(frame, name, demand)
    return main, search


def _is_integer(value: onnx.ValueInfoProto) -> bool:
    return tensor_dtype(value.type.tensor_type.elem_type).kind in "iu"


def _is_covered(frame: Frame, name: str, parts: Iterable[Part | None]) -> bool:
    """Whether the parts of an axis are all that there are."""
    shape = frame.shape(name) or ()
    places = Counter(part[0] for part in parts if part is not None)
    return any(axis < len(shape) and shape[axis] == n for axis, n in places.items())


def _representable(ids: range, value: onnx.ValueInfoProto) -> range:
    """Return the ids that a value's type can hold; none for a bool, or what is no tensor."""
    if not value.type.HasField("tensor_type"):
        return range(0)
    dtype = tensor_dtype(value.type.tensor_type.elem_type)
    if dtype.kind not in "iu":
        return range(0) if dtype.kind == "b" else ids
    n_bits, is_signed = 8 * dtype.itemsize, dtype.kind == "i"
    high = 2 ** (n_bits - is_signed) - 1
    return between(max(ids.start, -high - 1 if is_signed else 0), min(ids.stop - 1, high))


class _Search:
    """Takes demands back to where values come from; of several on one value, what meets them all."""

    def __init__(self) -> None:
        self._found: dict[tuple[Frame, str], dict[Part | None, Demand]] = {}

    def of(self, frame: Frame, name: str) -> dict[Part | None, Demand]:
        """Return what is asked of the parts of a value, and of the whole (None)."""
        return dict(self._found.get((frame, name), {}))

    def ask(self, frame: Frame, name: str, demand: Demand) -> None:
        """Ask a value, and all that it is made of, to meet a demand."""
        pending = deque([(frame, name, demand, False)])
        while pending:
            frame, name, demand, is_from_loop = pending.popleft()
            home = frame.home(name)
            if home is None or name in home.constants or not demand.ids:
                continue
            asked = self._found.setdefault((home, name), {})
            known = asked.get(demand.part)
            if known is not None and is_from_loop:
                continue  # a counter of its own would shrink the range each time around
            met = demand if known is None else known.met_with(demand)
            if met != known:
                asked[demand.part] = met
                pending.extend(_sources(home, name, met))


def _sources(frame: Frame, name: str, demand: Demand) -> Iterator[tuple[Frame, str, Demand, bool]]:
    """Yield the values that one is made of in this frame, and whether an earlier turn of a loop did."""
    made = frame.producers.get(name)
    if made is None:
        yield from _enter(frame, frame.inputs[name], demand)
        return
    node = frame.graph.node[made[0]]
    bodies = frame.bodies[made[0]]
    for source, asked in asked_of_inputs(frame, node, made[1], demand):
        yield frame, source, asked, False
    if node.op_type == "If":
        yield from ((body, body.graph.output[made[1]].name, demand, False) for body in bodies)
    elif node.op_type in ("Loop", "Scan"):
        demand = replace(demand, part=None)
        first = 1 if node.op_type == "Loop" else 0  # a Loop's body gives its condition first
        initial = made[1] + _first_state(node, bodies[0])
        yield bodies[0], bodies[0].graph.output[made[1] + first].name, demand, False
        if made[1] < _n_states(node, bodies[0]):
            yield frame, node.input[initial], demand, False


def _enter(body: Frame, number: int, demand: Demand) -> Iterator[tuple[Frame, str, Demand, bool]]:
    """Yield where the input of this number of a node's graph comes from."""
    outer, node, demand = body.parent, body.owner, replace(demand, part=None)
    if outer is None or node is None:
        return
    if node.op_type in _GENERATORS and number == 0:
        yield outer, node.input[0], demand, False
    elif node.op_type == "Loop" and number == 0:  # the iteration counts up to the first input
        yield outer, node.input[0], demand.moved(demand.low + 1, demand.high + 1), False
    elif node.op_type == "Loop" and number > 1:
        yield outer, node.input[number], demand, False
        yield body, body.graph.output[number - 1].name, demand, True
    elif node.op_type == "Scan":
        yield outer, node.input[number + _first_state(node, body)], demand, False
        if number < _n_states(node, body):
            yield body, body.graph.output[number].name, demand, True


def _first_state(node: onnx.NodeProto, body: Frame) -> int:
    """Return which input of a Loop or Scan is its first state: an old Scan has lengths before it."""
    return 2 if node.op_type == "Loop" else len(node.input) - len(body.graph.input)


def _n_states(node: onnx.NodeProto, body: Frame) -> int:
    """Return how many values a Loop or Scan hands from one turn to the next."""
    if node.op_type == "Loop":
        return len(node.input) - 2
    n_scanned = next((a.i for a in node.attribute if a.name == "num_scan_inputs"), 0)
    return len(body.graph.input) - int(n_scanned)
