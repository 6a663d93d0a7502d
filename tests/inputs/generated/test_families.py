"""Families of inputs: which readings go together, what they are called, and what is drawn."""

import numpy as np

from onnxzip.inputs.generated.families import MAX_FAMILIES, Family, families_of
from onnxzip.inputs.generated.readings import Reading
from onnxzip.runtime.input_spec import InputSpec

F32, I64 = np.dtype("float32"), np.dtype("int64")


def constant(name: str, value: float = 0, **facts: bool) -> Reading:
    return Reading(name, lambda shape, n_runs, rng: np.full((n_runs, *shape), value), **facts)


def noise(name: str, **facts: bool) -> Reading:
    return Reading(name, lambda shape, n_runs, rng: rng.standard_normal((n_runs, *shape)), **facts)


def chosen(family: Family) -> dict[str, str]:
    return {name: reading.name for name, reading in family.readings.items()}


def test_as_many_families_as_the_input_with_most_readings() -> None:
    """The others' take turns."""
    found = {
        "image": [constant("dark"), constant("grey"), constant("bright")],
        "mask": [constant("ones"), constant("zeros")],
        "sr": [constant("")],
    }
    assert [chosen(family) for family in families_of(found)] == [
        {"image": "dark", "mask": "ones", "sr": ""},
        {"image": "grey", "mask": "zeros", "sr": ""},
        {"image": "bright", "mask": "ones", "sr": ""},
    ]
    assert [family.name for family in families_of(found)] == [
        "dark, ones",
        "grey, zeros",
        "bright, ones",
    ]


def test_names_say_what_differs() -> None:
    """The same words once; nothing where there is one way only."""
    alone = {"a": [constant("noise")], "b": [constant("sounds")]}
    assert [family.name for family in families_of(alone)] == [""]
    alike = {name: [constant("noise"), constant("levels")] for name in "ab"}
    assert [family.name for family in families_of(alike)] == ["noise", "levels"]


def test_fallbacks_stay_apart() -> None:
    found = {
        "x": [constant("noise"), constant("positive", is_fallback=True)],
        "k": [constant("few"), constant("ones", is_fallback=True), constant("zeros", is_fallback=True)],
        "sr": [constant("")],
    }
    assert [chosen(family) for family in families_of(found)] == [{"x": "noise", "k": "few", "sr": ""}]
    assert [chosen(family) for family in families_of(found, with_fallbacks=True)] == [
        {"x": "positive", "k": "ones", "sr": ""},
        {"x": "positive", "k": "zeros", "sr": ""},
    ]
    assert families_of({"sr": [constant("")]}, with_fallbacks=True) == []


def test_what_has_fallbacks_only_has_them_from_the_start() -> None:
    found = {"x": [constant("odd", is_fallback=True), constant("odder", is_fallback=True)]}
    assert [chosen(family) for family in families_of(found)] == [{"x": "odd"}]


def test_there_is_a_most() -> None:
    found = {"x": [constant(str(i)) for i in range(99)]}
    assert [chosen(f)["x"] for f in families_of(found)] == [str(i) for i in range(MAX_FAMILIES)]


def test_a_model_without_inputs_has_a_family() -> None:
    (family,) = families_of({})
    assert family.draw([], {}, 2, seed=0) == [{}, {}]


def test_like_real_is_what_any_input_is() -> None:
    assert Family("", {"a": constant("x"), "b": constant("y", is_like_real=True)}).is_like_real
    assert not Family("", {"a": constant("x")}).is_like_real


def test_feeds_are_of_the_types_and_seeded() -> None:
    specs = [InputSpec("x", F32, ("b", 4)), InputSpec("k", I64, ()), InputSpec("z", F32, ("b", 4))]
    shapes = {"x": (3, 4), "k": (), "z": (3, 4)}
    family = Family("", {"x": noise("n"), "k": constant("c", 7), "z": noise("n")})
    first, again = (family.draw(specs, shapes, 2, seed=1) for _ in range(2))
    other = family.draw(specs, shapes, 2, seed=2)
    assert [{name: (a.dtype, a.shape) for name, a in feed.items()} for feed in first] == 2 * [
        {"x": (F32, (3, 4)), "k": (I64, ()), "z": (F32, (3, 4))}
    ]
    assert first[0]["k"] == 7
    np.testing.assert_array_equal(first[1]["x"], again[1]["x"])
    assert not np.array_equal(first[0]["x"], first[1]["x"])
    assert not np.array_equal(first[0]["x"], first[0]["z"]), "each input has numbers of its own"
    assert not np.array_equal(first[0]["x"], other[0]["x"])
    # a test model's weights are often the numbers of default_rng(0)
    own = family.draw(specs, shapes, 2, seed=0)[0]["x"]
    assert not np.array_equal(own, np.random.default_rng(0).standard_normal((3, 4)).astype(np.float32))
