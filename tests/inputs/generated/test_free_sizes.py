"""Sizes of free axes: the same symbol has the same size, others are judged by place and name."""

import numpy as np

from onnxzip.inputs.axes import samples_per_run
from onnxzip.inputs.generated.free_sizes import FreeSizes, resolve_run, resolve_shapes, with_sizes
from onnxzip.runtime.input_spec import InputSpec

F32, I64 = np.dtype("float32"), np.dtype("int64")


def shapes_of(*specs: InputSpec) -> list[tuple[int, ...]]:
    return list(resolve_shapes(specs, FreeSizes()).values())


def test_same_symbol_same_size_and_expressions() -> None:
    specs = [
        InputSpec("input_ids", I64, ("batch", "seq")),
        InputSpec("attention_mask", I64, ("batch", "past + seq")),
        InputSpec("past_key", F32, ("batch", 4, "past", 8)),
        InputSpec("wide", F32, ("batch", "2*seq")),
    ]
    ids, mask, past, wide = shapes_of(*specs)
    assert ids[0] == mask[0] == past[0] == wide[0] == 4
    assert mask[1] == ids[1] + past[2]
    assert wide[1] == 2 * ids[1]


def test_axes_are_judged_by_place_and_name() -> None:
    assert shapes_of(InputSpec("image", F32, (None, 3, None, None))) == [(4, 3, 64, 64)]
    assert shapes_of(InputSpec("image", F32, (None, None, None, 3))) == [(4, 64, 64, 3)]
    assert shapes_of(InputSpec("x", F32, ("s0", "s1"))) == [(4, 32)]
    assert shapes_of(InputSpec("input", F32, (None, None)), InputSpec("state", F32, (2, None, 128))) == [
        (4, 32),
        (2, 4, 128),
    ]
    assert shapes_of(InputSpec("x", F32, (1, "height", "width", 7))) == [(1, 64, 64, 7)]


def test_an_n_behind_the_batch_is_no_batch() -> None:
    waves, lengths = (
        InputSpec("waves", F32, ("batch_size", "N")),
        InputSpec("lens", I64, ("batch_size",)),
    )
    assert shapes_of(waves, lengths) == [(4, 32), (4,)]
    assert shapes_of(InputSpec("x", F32, ("N", 3))) == [(4, 3)]
    assert shapes_of(InputSpec("x", F32, (7, "N", 3))) == [(7, 4, 3)]


def test_samples_per_run() -> None:
    state, frame = InputSpec("state", F32, (2, 1, 8)), InputSpec("x", F32, (3, 16))
    assert samples_per_run([state, frame], resolve_shapes([state, frame], FreeSizes())) == 3
    free = InputSpec("x", F32, ("n", 16))
    assert samples_per_run([free], {"x": (5, 16)}) == 5


def test_small_samples_come_twelve_in_a_run() -> None:
    """Not where samples are large, where a small one becomes a large picture, or the run is of one."""
    small, large = (InputSpec("x", F32, ("batch", 3, n, n)) for n in (32, 64))
    scores, picture = (InputSpec("y", F32, ("batch", *s)) for s in ((10,), (3, 256, 256)))
    for spec, output, free_sizes, size in (
        (small, scores, FreeSizes(), 12),
        (large, scores, FreeSizes(), 4),
        (small, picture, FreeSizes(), 4),
        (small, scores, FreeSizes(batch=1), 1),
    ):
        assert resolve_run([spec], [output], free_sizes)["x"] == (size, *spec.shape[1:])


def test_known_sizes_stand_wherever_their_symbols_do() -> None:
    shapes = {"x": ("n", "a"), "y": ("a", "a + b", "2*a"), "z": (None, "b")}
    inputs = tuple(InputSpec(name, F32, shape) for name, shape in shapes.items())
    first, second, third = with_sizes(inputs, {"x": {1: 6}, "z": {0: 3}})
    assert first.shape == ("n", 6)
    assert second.shape == (6, "6 + b", 12)
    assert third.shape == (3, "b")
    assert with_sizes(inputs, {}) == inputs
