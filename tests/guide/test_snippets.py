"""Every command and piece of Python in the guide and in README.md runs, and prints what it says."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from tests.guide.pages_as_tests import PAGES, blocks_of, not_printed
from tests.guide.running import run_page

NOT_RUN = Counter(
    {
        ".ci/run runs it": 2,
        "not on PyPI before the first release": 2,
        "tests/guide/test_serving.py runs it on a port of its own": 2,
        "needs the right to trace processes": 1,
        "needs transformers, and a tokenizer from the network": 1,
        "how fast a model runs is its machine's business": 2,
        "needs torch, and a data set from the network": 1,
        "needs a cluster": 1,
    }
)
"""Blocks that are not run, by the reason that stands in the page's source."""


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_does_what_it_says(page: Path, tmp_path: Path) -> None:
    for outcome in run_page(page, tmp_path):
        assert not outcome.fault, f"{outcome.block.place} {outcome.fault}:\n{outcome.output}"


def test_what_is_not_run_is_known() -> None:
    blocks = [block for page in PAGES for block in blocks_of(page)]
    assert Counter(b.remarks["not run"] for b in blocks if "not run" in b.remarks) == NOT_RUN
    assert len(blocks) - NOT_RUN.total() >= 20


@pytest.mark.parametrize(
    ("shown", "printed", "is_there"),
    [
        ("504,158 B  28,467 B  17.71x", "   504,158 B     28,999 B  17.4x", True),
        ("504,158 B  28,467 B", "504,158 B     58,467 B", False),
        ("done ... s", "done in 12.3 s", True),
        ("nrmse 0.09", "psnr 0.09", False),
        ("nrmse 0.09", "xnrmse 0.09", False),
    ],
)
def test_numbers_may_differ_a_little_and_words_not_at_all(
    shown: str, printed: str, is_there: bool
) -> None:
    assert (not_printed([shown], f"other\n{printed}\n") == []) == is_there


def test_lines_are_looked_for_in_their_order() -> None:
    assert not_printed(["a", "b"], "a\nb\n") == []
    assert not_printed(["b", "a"], "a\nb\n") == ["a"]
