"""Settings: what each takes and becomes, what it refuses and in which words, what the report shows."""

from __future__ import annotations

import collections
from dataclasses import fields, replace
from fractions import Fraction
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onnxzip.cli.arguments import flag_of
from onnxzip.errors import UsageError
from onnxzip.options import Options

HUGE = np.zeros((1000, 1000))


def type_name(value: object) -> str:
    """Return what to call a parameter; a number of 5000 digits has no other name."""
    return value[:30] if isinstance(value, str) else type(value).__name__


def loss(reference: dict[str, np.ndarray], outputs: dict[str, np.ndarray]) -> float:
    return 0.0


# setting: (good values and what they become), (bad values), what the message says

NUMBER = "is not a finite number above 0"
NO_NAMES = "is not a name or a sequence of names"
TABLE: dict[str, tuple[list[tuple[Any, Any]], list[Any], str]] = {
    "calibration": (
        [("a.npz", Path("a.npz")), (PurePosixPath("a"), Path("a")), (None, None)],
        [3, True, 1.5, b"data", "", "a\0b", np.float32(1)],
        "is not a path",
    ),
    "tolerance": (
        [(1, 1.0), (np.float32(0.5), 0.5), (np.int64(3), 3.0), (Fraction(1, 4), 0.25), (None, None)],
        [0, -1, True, np.True_, np.nan, np.inf, -np.inf, "0.1", 10**400, 1j, [0.1], HUGE],
        NUMBER,
    ),
    "target_size": (
        [
            (5, 5),
            (np.int32(7), 7),
            ("4MB", 4_000_000),
            (" 1.5MiB ", 1_572_864),
            ("800kB", 800_000),
            ("2TB", 2 * 10**12),
            ("0.1GB", 10**8),
        ],
        [0, -1, True, 1e6, "", "MB", "4XB", "1e6", "-4MB", "0.1B", "9" * 5000, b"4MB", HUGE],
        "is not a size of a byte or more",
    ),
    "max_memory": (
        [(5, 5), ("2GB", 2_000_000_000), (None, None)],
        [0, -1, True, "", HUGE],
        "is not a size of a byte or more",
    ),
    "load_memory": (
        [(5, 5), ("60MB", 60_000_000), (None, None)],
        [0, -1, True, "", HUGE],
        "is not a size of a byte or more",
    ),
    "objective": ([("speed", "speed")], ["fast", None, True, HUGE], "is not one of size, speed"),
    "passes": (
        [("dct", ("dct",)), (["a", "b"], ("a", "b")), (None, None), (np.array(["a"]), ("a",))],
        [3, {"a": 1}, b"dct", HUGE, np.array("a")],
        NO_NAMES,
    ),
    "skip": ([("dct", ("dct",)), ((), ()), ({"b", "a"}, ("a", "b"))], [None, 3, HUGE], NO_NAMES),
    "keep": ([("w*", ("w*",)), (["w", "v"], ("w", "v"))], [None, 3, HUGE], NO_NAMES),
    "providers": ([("CPU", ("CPU",)), (None, None)], [3, {"CPU": 1}], NO_NAMES),
    "custom_ops": ([("a.so", Path("a.so")), (None, None)], [3, "", b"a", HUGE], "is not a path"),
    "level": ([(1, 1), (np.int8(9), 9)], [0, 10, True, "6", 6.0, None, 10**5000], "from 1 to 9"),
    "n_jobs": (
        [(np.uint8(3), 3)],
        [0, -1, True, 1.0, None, 3_000_000_000],
        "is not a whole number from 1",
    ),
    "seed": (
        [(0, 0), (np.int64(7), 7), (2**63 - 1, 2**63 - 1)],
        [-1, 2**63, 10**310, True, 1.5, "1"],
        "whole number from 0",
    ),
    "threads": (
        [(None, None)],
        [0, -1, True, 1.0, "2", 10**5000, HUGE],
        "is not a whole number from 1",
    ),
    "batch": ([(None, None)], [0, -1, True, 1.0, "2", 2**21, HUGE], "is not a whole number from 1"),
    "freeze_inputs": ([(True, True), (np.False_, False)], [1, 0, "yes", None], "is not True or False"),
    "keep_names": ([(True, True), (np.False_, False)], [1, 0, "yes", None], "is not True or False"),
    "overwrite": ([(np.True_, True)], [1, "no", None, HUGE], "is not True or False"),
    "cache": ([("kept", Path("kept")), (None, None)], [3, "", b"a", HUGE], "is not a path"),
    "cluster": (
        [(None, None), ("h:8786", "tcp://h:8786"), ("tls://[::1]:1", "tls://[::1]:1")],
        [3, "", "h", "tcp://h", "h:0", "h:65536", "http://h:1", "h:1/x", "u@h:1", "a b:1", HUGE],
        "is not an address such as tcp://host:8786",
    ),
    "cache_size": ([], [0, -1, "4 Miles", None, 1.5, True], "is not a size of a byte or more"),
    "pass_settings": (
        [
            ({"dct": {"block": np.int64(8)}}, {"dct": {"block": 8}}),
            ({"w": collections.OrderedDict(bases=["haar"])}, {"w": {"bases": ("haar",)}}),
        ],
        [
            *(3, None, "dct", {1: {}}, {"dct": 3}, {"dct": {1: 2}}, {"dct": {"a": None}}),
            *({"dct": {"a": np.nan}}, {"dct": {"a": HUGE}}, {"dct": {"a": (1, (2,))}}),
        ],
        "pass_settings",
    ),
}
LABELLED = {"calibration": "x.npz", "metric": "top1"}
GOOD = [(name, value, wanted) for name, (good, _, _) in TABLE.items() for value, wanted in good]
BAD = [(name, value, message) for name, (_, bad, message) in TABLE.items() for value in bad]


@pytest.mark.parametrize(("name", "value", "wanted"), GOOD, ids=type_name)
def test_good_value_is_brought_to_its_type(name: str, value: object, wanted: object) -> None:
    options = Options(**{name: value})
    found = getattr(options, name)
    assert found == wanted
    assert type(found) is type(wanted)
    assert replace(options) == options


@pytest.mark.parametrize(("name", "value", "message"), BAD, ids=type_name)
def test_bad_value_is_one_line_that_names_the_setting(name: str, value: object, message: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        Options(**{name: value})
    assert str(caught.value).startswith(name)
    assert caught.value.worded(flag_of).startswith(flag_of(name))
    assert len(str(caught.value)) < 250
    assert "\n" not in str(caught.value)


def test_labels() -> None:
    array = np.arange(3)
    assert Options(labels=array, **LABELLED).labels is array
    assert Options(labels="y.npy", **LABELLED).labels == Path("y.npy")
    assert Options(labels=[0, 1], **LABELLED).labels == [0, 1]
    for bad in (3, {"a": 1}, b"x", 1.5, ""):
        with pytest.raises(UsageError, match=r"labels .* is not a"):
            Options(labels=bad, **LABELLED)


def test_metrics() -> None:
    assert Options(metric=loss, tolerance=1).metric is loss
    assert Options(metric=loss, target_size=9).metric_name == f"{__name__}:loss"
    assert Options(metric=type("Loss", (), {"__call__": loss})(), tolerance=1).metric_name.endswith(
        "Loss"
    )
    assert Options(metric="my.mod:f", tolerance=1).metric_name == "my.mod:f"
    for bad in ("", "a b", "a:b:c", "my.class:f", ":f", "os.system:", 3, None, HUGE):
        with pytest.raises(UsageError, match=r"metric .* is not the name of a metric"):
            Options(metric=bad, tolerance=1)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"target_size": 5, "tolerance": 0.1}, "target_size stands instead of tolerance"),
        ({"labels": "y.npy", "calibration": "x.npz"}, "labels belong to metric top1, not nrmse"),
        ({"labels": "y.npy", "metric": "top1"}, "labels need calibration"),
        ({"metric": "top1", "tolerance": 1}, "0.01 is one point"),
        ({"metric": loss}, "loss has no default limit; pass tolerance"),
        ({"metric": "m:f"}, "m:f has no default limit; pass tolerance"),
        ({"threads": 2}, "threads says what objective speed times runs with"),
        ({"batch": 2, "objective": "size"}, "batch says what objective speed times runs with"),
        ({"passes": []}, "passes is empty"),
        ({"providers": ()}, "providers is empty"),
        ({"passes": ["a", 3]}, "passes holds what is no name: 3"),
        ({"skip": ["a", " "]}, "skip holds what is no name: ' '"),
        ({"keep": HUGE[0]}, "keep holds what is no name: 0.0"),
    ],
    ids=lambda value: value if isinstance(value, str) else "-".join(value),
)
def test_what_does_not_go_together(given: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Options(**given)


def test_what_runs_are_timed_with() -> None:
    options = Options(objective="speed", threads=np.int64(2), batch=np.uint8(16))
    assert (options.threads, options.batch) == (2, 16)
    assert type(options.threads) is type(options.batch) is int
    assert (Options(objective="speed").threads, Options(objective="speed").batch) == (None, None)


ANYTHING = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.binary()
    | st.complex_numbers(),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text() | st.integers(), inner, max_size=3)
    ),
    max_leaves=5,
)


@settings(derandomize=True, deadline=None, max_examples=400)
@given(st.sampled_from([field.name for field in fields(Options)]), ANYTHING)
def test_anything_is_taken_or_refused_in_one_line(name: str, value: object) -> None:
    try:
        options = Options(**{name: value})
    except UsageError as error:
        message = str(error)
    else:
        message = ""
        assert replace(options) == options
        assert all(isinstance(v, bool | int | float | str) for v in options.described().values())
    assert "\n" not in message


def test_described_shows_all_that_shapes_the_file() -> None:
    others: dict[str, dict[str, Any]] = {
        "calibration": {"calibration": "x.npz"},
        "labels": {"labels": "y.npy", **LABELLED},
        "metric": {"metric": loss, "tolerance": 0.1},
        "tolerance": {"tolerance": 0.2},
        "best_effort": {"best_effort": True},
        "target_size": {"target_size": "4MB"},
        "load_memory": {"load_memory": "60MB"},
        "max_memory": {"max_memory": "2GB"},
        "objective": {"objective": "speed"},
        **{name: {name: 2, "objective": "speed"} for name in ("threads", "batch")},
        "pass_settings": {"pass_settings": {"dct": {"block": (8, 4)}}},
        "custom_ops": {"custom_ops": "lib.so"},
        "level": {"level": 3},
        "keep_names": {"keep_names": True},
        "freeze_inputs": {"freeze_inputs": True},
        **{name: {name: 2} for name in ("n_jobs", "seed")},
        **{name: {name: "a"} for name in ("passes", "skip", "keep", "providers")},
    }
    unseen = {"overwrite", "cache", "cache_size", "cluster"}
    assert set(others) | unseen == {field.name for field in fields(Options)}
    plain = Options().described()
    for name, given_settings in others.items():
        described = Options(**given_settings).described()
        key = "dct.block" if name == "pass_settings" else name
        assert described[key] != plain.get(key), name
    assert Options(overwrite=True, cache=Path("kept"), cache_size=9, cluster="h:1").described() == plain
    assert Options(**others["pass_settings"]).described()["dct.block"] == "8,4"
    assert Options(calibration=HUGE).described()["calibration"] == "ndarray"
