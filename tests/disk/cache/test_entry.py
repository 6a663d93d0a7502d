"""Entries as bytes: back to the last bit, and never anything that runs."""

from __future__ import annotations

import io
import json
import math
import pickle

import ml_dtypes
import numpy as np
import pytest

from onnxzip.disk.cache.entry import Entry, from_bytes, to_bytes

ARRAYS = {
    "floats": np.array([0.1, -0.0, np.nan, np.inf, 1e-45], np.float32),
    "none": np.zeros((0, 3), np.int8),
    "one": np.array(7, np.int64),
    "turned": np.arange(12, dtype=np.float16).reshape(3, 4).T,
    "brain": np.arange(5).astype(ml_dtypes.bfloat16),
    "tiny": np.arange(5).astype(ml_dtypes.float8_e4m3fn),
    "a/b \n": np.array([True, False]),
}
VALUES = [None, True, 3, 0.1, math.inf, "text ä", {"a": [1, 2.5]}, 2**70, 5e-324]


@pytest.mark.parametrize("is_small", [True, False])
def test_values_and_arrays_come_back_as_they_were(is_small: bool) -> None:
    found = from_bytes(to_bytes(Entry(VALUES, ARRAYS), is_small=is_small))
    assert found.values == VALUES
    assert [type(value) for value in found.values] == [type(value) for value in VALUES]
    assert list(found.arrays) == list(ARRAYS)
    for name, array in ARRAYS.items():
        own = found.arrays[name]
        assert (own.dtype, own.shape) == (array.dtype, array.shape)
        assert own.tobytes() == array.tobytes()
        assert not own.flags.writeable


def test_numbers_of_numpy_become_those_of_python() -> None:
    values = [np.float64(0.1), np.float32(0.1), np.int64(3), np.bool_(True)]
    found = from_bytes(to_bytes(Entry(values), is_small=True)).values
    assert [type(value) for value in found] == [float, float, int, bool]
    assert found == [0.1, float(np.float32(0.1)), 3, True]


def test_what_json_does_not_know_is_refused_when_it_is_kept() -> None:
    with pytest.raises(TypeError, match="a object cannot be kept"):
        to_bytes(Entry([object()]), is_small=True)
    with pytest.raises(ValueError, match="Object arrays cannot be saved"):
        to_bytes(Entry(None, {"a": np.array([print], object)}), is_small=True)


class Malice:
    def __reduce__(self) -> tuple[object, ...]:
        raise AssertionError("unpickled")


def saved(**arrays: object) -> bytes:
    file = io.BytesIO()
    np.savez(file, **arrays)  # type: ignore[arg-type]
    return file.getvalue()


def test_nothing_is_ever_unpickled() -> None:
    text = np.frombuffer(json.dumps([None, {"a": "object"}]).encode(), np.uint8)
    pickled = saved(**{"values": text, "array 0": np.array([len], object)})
    for content in (b"", b"PK", pickle.dumps([1]), pickled, saved(values=text), saved(other=text)):
        with pytest.raises(ValueError, match="is no entry"):
            from_bytes(content)
