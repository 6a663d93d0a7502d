"""Names that are longer than their place, and tables without room."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from onnxzip.report.record import Inspection, Port, StoredWeight
from onnxzip.report.tables.folding import folded_in_the_middle
from onnxzip.report.terminal import render_inspection


def test_both_ends_of_a_name_stay() -> None:
    assert folded_in_the_middle("encoder.layer.11.weight", 11) == "encod…eight"
    assert folded_in_the_middle("short", 5) == "short"
    assert folded_in_the_middle("short", 1) == "…"


WEIGHTS = tuple(
    StoredWeight(
        f"encoder.layer.{i}.{'very.' * i}long.weight", "codebook", (1536, 384), "float32", *sizes
    )
    for i, sizes in enumerate(
        [(2_359_296, 123_456, 0.0512, 8_388_608), (987_654_321, 12_345_678, 0.12)] * 20
    )
)
LISTING = Inspection(
    "x.onnx", 300_000_000, 999_999_999_999, WEIGHTS, (Port("input_ids", "int64", ("batch", "length")),)
)


def lines_of(width: int) -> list[str]:
    file = io.StringIO()
    Console(file=file, width=width).print(render_inspection(LISTING))
    return file.getvalue().splitlines()


@pytest.mark.parametrize("width", [60, 80])
def test_no_figure_is_cut_and_what_is_left_out_is_said(width: int) -> None:
    lines = lines_of(width)
    assert max(map(len, lines)) <= width
    for figure in ("123,456 B", "12,345,678 B", "300,000,000 B", "19.11x", "80.00x", "3333.33x"):
        assert any(figure in line for line in lines), figure
    assert any("no room for: at load" in line for line in lines)
    assert sum("…" in line for line in lines), "names of hundreds of characters are shortened"


def test_a_pipe_has_all_of_it() -> None:
    text = "\n".join(lines_of(10_000))
    assert all(weight.name in text for weight in WEIGHTS)
    assert "8.39 MB" in text
    assert "no room" not in text
