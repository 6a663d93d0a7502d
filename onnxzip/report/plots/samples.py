"""Example samples as parts of a report: pictures side by side, scores as bars, lines, short lists."""

from __future__ import annotations

import math
from collections.abc import Sequence

from onnxzip.records.aliases import Scalar
from onnxzip.records.check import Check
from onnxzip.report.example import Example, Shown
from onnxzip.report.numbers import format_loss, format_metric_name, format_shape
from onnxzip.report.plots.plot import Axis, BarPlot, Bars, Group, Plot, Point, XYPlot
from onnxzip.report.section import Block, Picture
from onnxzip.report.tables.table import Table


def example_blocks(examples: Sequence[Example], check: Check | None) -> tuple[Block, ...]:
    """Return a part for each sample: what is fed, and what both models answer."""
    return tuple(_block(example, check) for example in examples)


def _block(example: Example, check: Check | None) -> Block:
    loss = ""
    if check is not None and example.loss is not None:
        loss = f", {format_metric_name(check.metric)} {format_loss(check, example.loss)}"
    pictures: list[Picture] = []
    notes: list[str] = []
    plots: list[Plot] = []
    rows: list[tuple[str, ...]] = []
    for kind, shown in (
        *(("input", shown) for shown in example.inputs),
        *(("output", shown) for shown in example.outputs),
    ):
        if shown.look == "picture":
            pictures += _pictures(kind, shown)
            notes.append(f"{kind.capitalize()} {_described(shown)}.")
        elif shown.look == "values":
            if shown.compressed:
                rows.append(
                    (f"output {_described(shown)}", _listed(shown.original), _listed(shown.compressed))
                )
            else:
                notes.append(f"{kind.capitalize()} {_described(shown)}: {_listed(shown.original)}.")
        else:
            plots.append(_scores(kind, shown) if shown.look == "scores" else _curve(kind, shown))
    columns = ("value", "original", "compressed")
    table = Table(columns, tuple(rows), frozenset(columns))
    title = f"Sample {example.sample:,}: {example.rank}{loss}"
    if example.n_left_out:
        title += f" ({example.n_left_out:,} more inputs and outputs are not shown)"
    return Block(title, tuple(pictures), " ".join(notes), tuple(plots), table)


def _pictures(kind: str, shown: Shown) -> list[Picture]:
    name = f"{kind} {shown.name}"
    if not shown.compressed_png:
        return [Picture(shown.original_png, *shown.size, name, name)]
    return [
        Picture(png, *shown.size, f"{shown.name}, {owner}", f"{name} of the {owner} model")
        for owner, png in (("original", shown.original_png), ("compressed", shown.compressed_png))
    ]


def _scores(kind: str, shown: Shown) -> BarPlot:
    """Return the scores of the classes that are shown, of an output both models' beside each other."""
    what = f"{kind.capitalize()} {shown.name}"
    names = tuple(map(str, shown.indices))
    groups = [Bars("original", "before", _numbers(shown.original), tuple(map(_text, shown.original)))]
    if shown.compressed:
        texts = tuple(map(_text, shown.compressed))
        groups.append(Bars("compressed", "after", _numbers(shown.compressed), texts))
    summary = f"{kind.capitalize()} {_described(shown)}"
    tops = [shown.indices[_argmax(group.values)] for group in groups]
    summary += f". The greatest is number {tops[0]}"
    if shown.compressed:
        summary += " in both" if tops[0] == tops[1] else f" of the original, {tops[1]} of the compressed"
    return BarPlot(what, f"{summary}.", Axis("value"), names, tuple(groups))


def _curve(kind: str, shown: Shown) -> XYPlot:
    what = f"{kind.capitalize()} {shown.name}"
    lines = [_line("original", "before", shown.indices, shown.original)]
    summary = f"{kind.capitalize()} {_described(shown)}"
    if shown.compressed:
        lines.append(_line("compressed", "after", shown.indices, shown.compressed))
        pairs = zip(_numbers(shown.original), _numbers(shown.compressed), strict=True)
        gaps = [abs(a - b) for a, b in pairs if math.isfinite(a - b)]
        summary += f"; at most {max(gaps, default=math.nan):.3g} apart"
    return XYPlot(what, f"{summary}.", Axis("number of the value"), Axis("value"), tuple(lines))


def _line(name: str, role: str, indices: Sequence[int], values: Sequence[Scalar]) -> Group:
    points = tuple(Point(i, y) for i, y in zip(indices, _numbers(values), strict=True))
    return Group(name, "before" if role == "before" else "after", points, is_line=True)


def _described(shown: Shown) -> str:
    note = f", {shown.note}" if shown.note else ""
    return f"{shown.name} ({shown.dtype} {format_shape(shown.shape)}{note})"


def _listed(values: Sequence[Scalar]) -> str:
    return ", ".join(map(_text, values))


def _numbers(values: Sequence[Scalar]) -> tuple[float, ...]:
    return tuple(map(float, values))


def _text(value: Scalar) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _argmax(values: Sequence[float]) -> int:
    return max(range(len(values)), key=lambda i: -math.inf if math.isnan(values[i]) else values[i])
