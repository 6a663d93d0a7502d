"""What is made from the sources says what they say: the references, and the figure of a real file."""

from __future__ import annotations

from pathlib import Path

import pytest

from onnxzip.guide.pages import topics
from onnxzip.measure.metrics import metrics
from tests.bench import picture
from tests.guide import figure, reference
from tests.guide.pages_as_tests import PAGES, ROOT, code_of, links_of

GUIDE = ROOT / "onnxzip" / "guide"
WIDTH = 78
"""Columns of code that a terminal of 80 shows unbroken."""
AS_FORMATTED = {"api", "passes"}
"""Pages that quote the sources, whose lines are longer."""


@pytest.mark.parametrize("path", reference.pages(), ids=lambda path: path.stem)
def test_references_are_those_of_the_sources(path: Path) -> None:
    assert path.read_text("utf-8") == reference.pages()[path], "run python -m tests.guide.reference"


def test_the_figure_is_that_of_a_file() -> None:
    text = figure.PAGE.read_text("utf-8")
    assert text == figure.replaced(text, figure.draw()), "run python -m tests.guide.figure"


def test_the_picture_is_that_of_the_table() -> None:
    drawn = picture.draw(picture.read_table(picture.TABLE.read_text("utf-8")))
    assert picture.PICTURE.read_text("utf-8") == drawn, "run python -m tests.bench.picture"


def test_links_lead_somewhere() -> None:
    for page in PAGES:
        for target in links_of(page):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


@pytest.mark.parametrize("topic", topics())
def test_a_topic_has_a_title_and_its_code_fits_a_terminal(topic: str) -> None:
    page = GUIDE / f"{topic}.md"
    assert page.read_text("utf-8").startswith("# ")
    assert topic in AS_FORMATTED or not [line for line in code_of(page) if len(line) > WIDTH]


def test_metrics_and_their_limits_are_those_there_are() -> None:
    rows = [r.split("|") for r in (GUIDE / "metrics.md").read_text("utf-8").splitlines()]
    told = {row[1].strip(" `"): row for row in rows if len(row) > 4 and row[1].startswith(" `")}
    assert {*metrics()} <= {*told}
    for name, metric in metrics().items():
        limits = told[name][-3].replace(",", " ").split()
        assert f"{metric.default_limit:g}" in limits, name
