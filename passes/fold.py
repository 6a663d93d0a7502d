"""Folds structure that computes nothing of its own: batch norms, scales, identities, constants.

Every rule leaves what the graph computes as it is, to 1e-5; the names of graph inputs and outputs,
and of the nodes that stay, do not change. Nested graphs are left alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import ClassVar

import numpy as np

from onnxzip.passbase import Editor, GraphPass, NodeView
from onnxzip.records.plan import Rewrite, Skip

from ._fold_affine import RefusedError, fold_affine
from ._fold_constants import evaluation_refusal, least_bytes
from ._fold_shapes import copied_sizes

_STANDARD_DOMAINS = ("", "ai.onnx.ml")
_INT64, _BOOL = 7, 9
"""TensorProto.DataType."""

_OUTPUT_TYPES: Mapping[str, int] = {
    **dict.fromkeys(("Shape", "Size", "NonZero", "ArgMax", "ArgMin"), _INT64),
    **dict.fromkeys(("Equal", "Less", "Greater", "LessOrEqual", "GreaterOrEqual"), _BOOL),
    **dict.fromkeys(("Not", "And", "Or", "Xor", "IsNaN", "IsInf"), _BOOL),
}
_SAME_TYPE = (
    *("Reshape", "Transpose", "Squeeze", "Unsqueeze", "Flatten", "Slice", "Gather", "Concat"),
    *("Identity", "Expand", "Tile", "Relu", "Neg", "Add", "Sub", "Mul", "Div", "Pad", "Split"),
)
_MAX_TYPE_STEPS = 16
"""Nodes that are followed back for a type; where that is not enough, a fold is left out."""

_MAX_MERGED_BYTES = 64
"""Eight int64: scalars, axes, and shapes up to rank 8 are what exporters repeat."""

_NODE_BYTES = 30
"""At least what a node and its value's name take in the file."""


@dataclass(frozen=True)
class Fold(GraphPass):
    """Fold batch norms, scales, biases, identities and constants; drop dead nodes."""

    name: ClassVar[str] = "fold"

    def rewrite(self, editor: Editor) -> Iterator[Rewrite | Skip]:
        """Rewrite until nothing changes; yield each change at once, and in the end what is left alone.

        Every change removes a node, or leaves some unread, and a sweep follows chains from front to
        back, so that few sweeps are needed whatever the length of the graph.
        """
        while True:
            yield from (
                Rewrite(self.name, label, "removed: nothing reads it") for label in _bury(editor)
            )
            skips: list[Skip] = []
            n_changes = 0
            for target, text, is_change in _Sweep(editor).run():
                if is_change:
                    n_changes += 1
                    yield Rewrite(self.name, target, text)
                else:
                    skips.append(Skip(target, self.name, text))
            if not n_changes:
                break
        if n_merged := _merge(editor):
            yield Rewrite(self.name, "constants", f"{n_merged} small constants merged with equal ones")
        yield from skips


def _bury(editor: Editor) -> Iterator[str]:
    """Remove the nodes whose outputs nobody reads; unread Constants go with the final clean-up."""
    for node in reversed(editor.nodes()):
        is_plain = node.domain in _STANDARD_DOMAINS and node.op_type != "Constant"
        if is_plain and node.outputs and not any(o and editor.n_uses(o) for o in node.outputs):
            editor.remove(node)
            yield _label(node)


def _merge(editor: Editor) -> int:
    """Let readers of small Constants that are equal share the first; return how many are gone."""
    first: dict[tuple[str, tuple[int, ...], bytes], str] = {}
    n_merged = 0
    for node in editor.nodes():
        array = editor.constant(node.outputs[0]) if node.op_type == "Constant" else None
        if array is None or array.nbytes > _MAX_MERGED_BYTES or editor.is_output(node.outputs[0]):
            continue
        key = (array.dtype.name, array.shape, array.tobytes())
        if key not in first:
            first[key] = node.outputs[0]
        elif editor.n_uses(node.outputs[0]):
            editor.redirect(node.outputs[0], first[key])
            editor.remove(node)
            n_merged += 1
    return n_merged


@dataclass
class _Sweep:
    """One walk through the graph, front to back.

    Attributes:
        producers: the nodes visited so far that stay, by output.
        renamed: values whose readers were redirected during this sweep.
    """

    editor: Editor
    producers: dict[str, NodeView] = field(default_factory=dict)
    renamed: dict[str, str] = field(default_factory=dict)

    def run(self) -> Iterator[tuple[str, str, bool]]:
        """Yield (node, what was done or why nothing was, whether it changed) for each finding."""
        rules: tuple[Callable[[NodeView], str], ...] = (
            *(self._bypass, self._evaluate, self._absorb, self._copy_sizes),
        )
        for view in self.editor.nodes():
            node = replace(view, inputs=tuple(self._now(name) for name in view.inputs))
            text, is_change = "", False
            if node.domain == "" and node.inputs and node.outputs and not node.has_subgraphs:
                try:
                    text = next((t for rule in rules if (t := rule(node))), "")
                    is_change = bool(text)
                except RefusedError as refusal:
                    text = str(refusal)
            if text:
                yield _label(node), text, is_change
            if not is_change:
                self._record(node)

    def _now(self, name: str) -> str:
        while name in self.renamed:
            name = self.renamed[name]
        return name

    def _record(self, node: NodeView) -> None:
        self.producers.update((output, node) for output in node.outputs if output)

    def _absorb(self, node: NodeView) -> str:
        """Fold a batch norm, scale or bias into the linear operator before it."""
        changed = fold_affine(self.editor, self.producers, node)
        for view in changed:
            self._record(view)
        return f"{node.op_type} folded into '{_label(changed[0])}'" if changed else ""

    def _copy_sizes(self, node: NodeView) -> str:
        """Let a Reshape take sizes from what it reshapes, in place of nodes that compute them."""
        sizes = copied_sizes(self.editor, self.producers, node)
        if sizes is None:
            return ""
        name = self.editor.add_constant(np.array(sizes, np.int64), node.inputs[1])
        self.editor.set_inputs(node, [node.inputs[0], name])
        self._record(replace(node, inputs=(node.inputs[0], name)))
        return "Reshape takes sizes from its input"

    def _bypass(self, node: NodeView) -> str:
        """Remove a node whose output is its input."""
        if not _is_identity(self.editor, self.producers, node):
            return ""
        source, target = node.inputs[0], node.outputs[0]
        if not self.editor.is_output(target):
            self.editor.remove(node)
            self.editor.redirect(target, source)
            self.renamed[target] = source
            return f"{node.op_type} removed: it changes nothing"
        producer = self.producers.get(source)
        if producer is None or producer.domain or self.editor.is_output(source):
            raise RefusedError(f"{node.op_type} gives graph output '{target}' its name")
        self.editor.remove(node)
        self.editor.redirect(source, target)
        self.renamed[source] = target
        outputs = tuple(target if name == source else name for name in producer.outputs)
        self.editor.set_outputs(producer, outputs)
        self._record(replace(producer, outputs=outputs))
        for output, reader in self.producers.items():
            if source in reader.inputs:
                inputs = tuple(self._now(name) for name in reader.inputs)
                self.producers[output] = replace(reader, inputs=inputs)
        return f"{node.op_type} removed: '{_label(producer)}' produces '{target}' itself"

    def _evaluate(self, node: NodeView) -> str:
        """Replace a node that reads constants only by its result, if that is no larger."""
        names = [name for name in node.inputs if name]
        arrays = {name: a for name in names if (a := self.editor.constant(name)) is not None}
        if not names or len(arrays) != len(set(names)):
            return ""
        if self.editor.is_output(node.outputs[0]):
            raise RefusedError("its result is constant, but it gives a graph output its name")
        reason = evaluation_refusal(node, list(arrays.values()))
        if reason:
            raise RefusedError(f"its inputs are constant, but {reason}")
        n_freed = sum(a.nbytes for n, a in arrays.items() if self.editor.n_uses(n) == names.count(n))
        n_freed += _NODE_BYTES
        if least_bytes(node, arrays[names[0]]) > n_freed:
            raise RefusedError("its inputs are constant, but its result takes more bytes than they do")
        result = self.editor.evaluate(node)
        if result is None:
            raise RefusedError("its inputs are constant, but it cannot be computed here")
        if result.nbytes > n_freed:
            raise RefusedError("its inputs are constant, but its result takes more bytes than they do")
        name = self.editor.add_constant(result, node.outputs[0])
        self.editor.remove(node)
        self.editor.redirect(node.outputs[0], name)
        self.renamed[node.outputs[0]] = name
        return f"{node.op_type} computed: its inputs are constant"


def _is_identity(editor: Editor, producers: Mapping[str, NodeView], node: NodeView) -> bool:
    """Whether a node certainly hands its first input on."""
    if node.op_type == "Identity":
        return True
    if node.op_type == "Dropout":
        return _is_inactive(editor, node)
    if node.op_type == "Cast":
        return node.attributes.get("to") == _known_type(producers, node.inputs[0])
    if node.op_type == "Transpose":
        perm = node.attributes.get("perm")
        return isinstance(perm, tuple) and perm == tuple(range(len(perm)))
    if node.op_type in ("Concat", "Sum", "Mean", "Max", "Min"):
        return len(node.inputs) == 1
    if node.op_type == "Pad":
        pads = node.attributes.get("pads")
        amounts = np.asarray(pads) if pads is not None else None
        if pads is None and len(node.inputs) > 1:
            amounts = editor.constant(node.inputs[1])
        return amounts is not None and not amounts.any()
    return False


def _is_inactive(editor: Editor, node: NodeView) -> bool:
    """Whether a Dropout passes its input on: not in training mode, its mask unread.

    Raises:
        RefusedError: it is, or may be, in training mode, or its mask is read.
    """
    if len(node.outputs) > 1 and node.outputs[1] and editor.n_uses(node.outputs[1]):
        raise RefusedError("the mask of the Dropout is read")
    if len(node.inputs) > 2 and node.inputs[2]:
        mode = editor.constant(node.inputs[2])
        if mode is None or mode.any():
            raise RefusedError("the Dropout is, or may be, in training mode")
    return True


def _known_type(producers: Mapping[str, NodeView], value: str) -> int | None:
    """Return a value's element type where the nodes before it tell."""
    for _ in range(_MAX_TYPE_STEPS):
        node = producers.get(value)
        if node is None or node.domain:
            return None
        if node.op_type == "Cast":
            to = node.attributes.get("to")
            return to if isinstance(to, int) else None
        if node.op_type in _OUTPUT_TYPES:
            return _OUTPUT_TYPES[node.op_type]
        if node.op_type not in _SAME_TYPE:
            return None
        value = node.inputs[0]
    return None


def _label(node: NodeView) -> str:
    return node.name or next(iter(node.outputs), node.op_type)
