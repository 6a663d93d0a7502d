"""Reports that nobody's run has made: what is read can be shown, and what cannot be is not read."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from onnxzip.cli.terminal import render
from onnxzip.errors import InputError
from onnxzip.records.recalled import Recalled
from onnxzip.report.html import export as to_html
from onnxzip.report.json import export as to_json
from onnxzip.report.json import from_json
from onnxzip.report.markdown import export as to_markdown
from onnxzip.report.terminal import render_report
from tests.report.full import FULL

SMALL = replace(
    FULL,
    layers=FULL.layers[:2],
    sensitivities=FULL.sensitivities[:2],
    examples=FULL.examples[:1],
    recalled=(Recalled("trials", 1, 2),),
)
RECORD = json.loads(to_json(SMALL))

_ODD: dict[type, list[Any]] = {
    bool: [True, False, None],
    int: [0, -1, 1, 2**62, 2**70, -(2**63), 10**30, None],
    float: [0.0, -1.0, "nan", "inf", "-inf", 1e308, 5e-324, 3, None],
    str: ["", "\x1b[31mred", "a" * 10_000, "<script>alert(1)</script>", "\u202e", "nan", "|\n#", None],
    type(None): [0, 1.5, "x", -1],
    dict: [{}, None],
}
"""What a value is replaced with, by its type."""


def places_of(value: object, place: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the places of all values of a record, of long lists those of their first items."""
    yield place
    items = (
        value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    )
    for key, item in list(items)[:3] if isinstance(value, list) else items:
        yield from places_of(item, (*place, key))


PLACES = list(places_of(RECORD))[1:]


def at(record: Any, place: tuple[Any, ...]) -> Any:
    for key in place:
        record = record[key]
    return record


def changed(place: tuple[Any, ...], value: object) -> str:
    """Return the report with another value at a place."""
    record = copy.deepcopy(RECORD)
    at(record, place[:-1])[place[-1]] = value
    return json.dumps(record)


def examples_at(look: str) -> tuple[Any, ...]:
    """Return the place of an output that is looked at in a way."""
    outputs = RECORD["examples"][0]["outputs"]
    return ("examples", 0, "outputs", next(i for i, out in enumerate(outputs) if out["look"] == look))


@pytest.mark.parametrize(
    ("place", "value", "finding"),
    [
        (("bytes_after",), -1, "Report.bytes_after is -1, and cannot be below 0"),
        (("bytes_before",), 2**70, "71 bits"),
        (("seconds",), "inf", "Report.seconds is inf"),
        (("load_seconds", "after"), "nan", "LoadSeconds.after is nan"),
        (("checks", 0, "n_samples"), -5, "Check.n_samples is -5"),
        (("checks", 0, "n_decimals"), -1, "Check.n_decimals is -1"),
        (("checks", 0, "n_decimals"), 10**9, "at most 99"),
        (("checks", 0, "interval"), [0.2, 0.1], "ends at 0.1, before it begins"),
        (("speed", "before", "seconds"), [0.1], "times of 1 runs"),
        (("speed", "after", "seconds"), ["inf", 0.1], "Latency.seconds is inf"),
        (("speed", "ratio", "low"), 7.0, "below Ratio.low"),
        (("speed", "n_threads"), 0, "Speed.n_threads is 0"),
        (("recalled", 0, "n_wanted"), 0, "Recalled.n_wanted is 0"),
        ((*examples_at("curve"), "indices"), [0], "1 indices, 3 of the original"),
        ((*examples_at("curve"), "compressed"), [0.5], "1 of the compressed"),
        ((*examples_at("scores"), "dtype"), "string", "scores of 'scores': texts have none"),
        ((*examples_at("picture"), "original_png"), "PHN2Zz4=", "no PNG"),
        ((*examples_at("picture"), "compressed_png"), '"><script>', "not a report"),
    ],
)
def test_figures_that_cannot_be_are_refused(place: tuple[Any, ...], value: object, finding: str) -> None:
    with pytest.raises(InputError, match=finding):
        from_json(changed(place, value))


def test_scores_of_nothing_are_refused() -> None:
    record = copy.deepcopy(RECORD)
    at(record, examples_at("scores")).update(indices=[], original=[], compressed=[])
    with pytest.raises(InputError, match="scores of 'scores': there are none"):
        from_json(json.dumps(record))


def test_what_is_read_is_shown() -> None:
    """Whatever stands in a report of the right form: it is refused, or every format shows it."""
    draw = random.Random(0)
    n_shown = 0
    for _ in range(20):
        place = draw.choice(PLACES)
        value = at(RECORD, place)
        odd = draw.choice([[], value[:1], value * 2] if isinstance(value, list) else _ODD[type(value)])
        try:
            report = from_json(changed(place, odd))
        except InputError:
            continue
        n_shown += 1
        page, text = to_html(report), to_markdown(report)
        assert "<script>alert" not in page, (place, odd)
        shown = page + text + render(render_report(report, True))
        assert "\x1b[31m" not in shown, (place, odd)
        assert to_json(from_json(to_json(report))) == to_json(report)
    assert 3 < n_shown < 17
