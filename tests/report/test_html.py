"""The HTML report: one well-formed page, the cells of the Markdown, nothing from elsewhere."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import replace
from xml.etree import ElementTree as ET

from onnxzip.records.plan import Rewrite
from onnxzip.report.html import export
from onnxzip.report.markdown import export as to_markdown
from onnxzip.report.record import Inspection, LayerSensitivity, Port, StoredWeight
from tests.report.full import FULL, layer
from tests.report.test_report import LAYERS, REPORT

EVIL = "<script>alert('&amp;\"')</script>"


def parse(page: str) -> ET.Element:
    """Parse a page or fragment strictly, as XML: every tag is closed and every text escaped."""
    text = page.removeprefix("<!DOCTYPE html>\n")
    return ET.fromstring(re.sub(r"<meta ([^>]*)>", r"<meta \1/>", text))


def cells(root: ET.Element) -> list[list[str]]:
    return [["".join(cell.itertext()) for cell in row] for row in root.iter("tr")]


def tiles(root: ET.Element) -> list[list[str | None]]:
    """Return the figures of the summary, as a table has them."""
    return [[item.text for item in root.iter(tag)] for tag in ("dt", "dd")]


def test_the_page_has_the_cells_of_the_markdown() -> None:
    rows = [
        [cell.strip() for cell in line.strip("|").split(" | ")]
        for line in to_markdown(REPORT).splitlines()
        if line.startswith("| ") and not line.startswith(("| :-", "| -"))
    ]
    root = parse(export(REPORT))
    n_before = 0 if not tiles(root)[0] else rows.index(tiles(root)[0])
    assert rows[n_before : n_before + 2] == tiles(root)
    assert cells(root) == [*rows[:n_before], *rows[n_before + 2 :]]
    points = [line[2:] for line in to_markdown(REPORT).splitlines() if line.startswith("- ")]
    lists = [item for item in root.iter("ul") if item.get("class") in (None, "many")]
    assert [item.text for found in lists for item in found] == points


def test_headings_and_scopes() -> None:
    root = parse(export(REPORT))
    assert root.get("lang") == "en"
    assert [h.text for h in root.iter("h1")] == ["resnet20.onnx: 7.19x smaller"]
    assert [h.text for h in root.iter("h2")] == [
        *("Evidence", "Verdict", "Summary", "Weights", "Checks", "Rewrites", "Refusals", "Made with")
    ]
    for table in root.iter("table"):
        assert {th.get("scope") for th in table.findall("thead/tr/th")} == {"col"}
        for row in table.findall("tbody/tr"):
            assert [cell.tag for cell in row] == ["th"] + ["td"] * (len(row) - 1)
            assert row[0].get("scope") == "row"
    regions = [element for element in root.iter() if element.get("role") == "region"]
    assert len({region.get("aria-label") for region in regions}) == len(regions) == 6
    assert {region.get("tabindex") for region in regions} == {"0"}


def test_the_page_needs_nothing_else() -> None:
    page = export(REPORT)
    elsewhere = r"<script|<link|url\(|@import|https?:|href=|src=(?!\"data:image/png;base64,)"
    assert not re.search(elsewhere, page)
    assert "prefers-color-scheme: dark" in page
    assert 'name="viewport"' in page


def test_of_many_layers_the_page_has_the_largest_and_says_so() -> None:
    layers = tuple(replace(layer(i), name=f"block.{i}.attention.weight") for i in range(3000))
    sensitivities = tuple(LayerSensitivity(x.name, 0.05, 0.1) for x in layers)
    page = export(replace(FULL, layers=layers, sensitivities=sensitivities))
    assert len(page) < 500_000
    assert "2,603 more rows are left out here" in page
    assert "the 2,980 smallest weights are summed up" in page
    assert "2,980 less sensitive weights are in the table only" in page


def test_all_kinds_of_examples_are_shown() -> None:
    page = export(FULL)
    root = parse(page)
    pictures = [(img.get("alt"), img.get("width")) for img in root.iter("img")]
    wanted = ["input pixels", "output mask of the original model", "output mask of the compressed model"]
    assert pictures[:3] == [(alt, "8") for alt in wanted]
    plots = [svg.get("aria-label") or "" for svg in root.iter("svg")]
    assert any("The greatest is number 1 in both" in text for text in plots)
    assert any("at most 0.1 apart" in text for text in plots)
    assert "Input ids (int64 3): 101, 7592, 102." in page
    assert "(2 more inputs and outputs are not shown)" in page
    assert "onnxzip --tolerance 0.05 -c &#39;my images.npz&#39; --report r.html in.onnx out.onnx" in page


def test_a_refusal_says_that_nothing_was_written() -> None:
    failed = replace(FULL, checks=(replace(FULL.checks[2], passed=False),))
    assert "nothing was written" not in export(failed)
    assert "<li>nothing was written: no smaller file" in export(replace(failed, output_sha256=""))
    assert "nothing was written" not in export(replace(failed, output_sha256="", task="test"))


def test_only_a_page_that_is_made_needs_what_makes_it() -> None:
    code = (
        "import sys; from onnxzip.report.registry import exporters; exporters(); "
        "print(sorted({'jinja2', 'pygal', 'PIL'} & set(sys.modules)))"
    )
    command = [sys.executable, "-c", code]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "[]\n"


def test_every_text_is_escaped() -> None:
    report = replace(
        REPORT,
        source=EVIL,
        layers=(replace(LAYERS[0], name=EVIL),),
        rewrites=(Rewrite(EVIL, EVIL, EVIL),),
        settings={EVIL: EVIL},
    )
    page = export(report)
    assert "<script" not in page
    assert "&lt;script&gt;alert(" in page
    shown = [
        text for element in parse(page).iter() for text in (element.text, element.get("aria-label"))
    ]
    assert sum(EVIL in (text or "") for text in shown) == 10
    assert EVIL in {row[0] for row in cells(parse(page))}


def test_verdicts_have_classes() -> None:
    found = {(c.text, c.get("class")) for c in parse(export(REPORT)).iter("td")}
    assert ("passed", "text passed") in found
    assert ("FAILED: exact", "text failed") in found


def test_notebooks_show_fragments() -> None:
    text = REPORT._repr_html_()
    root = parse(text)
    assert root.tag == "div"
    assert [h.text for h in root.iter("h3")] == ["resnet20.onnx: 7.19x smaller"]
    assert cells(root) == cells(parse(export(REPORT)))
    weights = (StoredWeight(EVIL, "dct", (16, 4), "float32", 256, 64, 0.05, 1536),)
    inputs, outputs = (Port(EVIL, "float32", ("n", 3)), Port("m", "bool", None)), (Port("y", "?", ()),)
    rows = cells(parse(Inspection("x.onnx", 100, 300, weights, inputs, outputs)._repr_html_()))
    assert rows[:5] == [
        ["input", "type", "shape"],
        [EVIL, "float32", "n x 3"],
        ["m", "bool", "any"],
        ["output", "type", "shape"],
        ["y", "?", "scalar"],
    ]
    assert rows[6:] == [
        [EVIL, "dct", "16x4", "8.00", "64 B", "1.54 kB", "4.00x", "0.05"],
        ["graph and all else", "", "", "", "36 B", "", "1.22x", ""],
        ["whole file", "", "", "", "100 B", "1.54 kB", "3.00x", ""],
    ]
