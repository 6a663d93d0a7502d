"""Files and dicts of calibration data: what is read, how it is cut into runs, what is refused."""

import os
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onnxzip.errors import CalibrationError
from onnxzip.inputs.given.from_files import load_calibration, load_labels
from onnxzip.inputs.given.runs import MAX_RUN_ELEMENTS
from onnxzip.runtime.input_spec import InputSpec

F32, I64 = np.dtype("float32"), np.dtype("int64")
IMAGE = InputSpec("image", F32, ("batch", 3, 4, 4))
FIXED = InputSpec("image", F32, (2, 3, 4, 4))
IDS = InputSpec("ids", I64, ("batch", "seq"))
SILERO = (
    InputSpec("input", F32, ("batch", "sequence")),
    InputSpec("state", F32, (2, "batch", 8)),
    InputSpec("sr", I64, ()),
)


def load(*arguments, **options):
    feeds, labels = load_calibration(*arguments, **options)
    assert labels == ()
    return feeds


def images(n: int, dtype: str = "float32") -> np.ndarray:
    return np.random.default_rng(0).standard_normal((n, 3, 4, 4)).astype(dtype)


@settings(derandomize=True, deadline=None)
@given(st.integers(1, 200), st.integers(1, 40))
def test_every_sample_is_fed_once_and_in_order(n, batch_size):
    data = images(n)
    feeds = load({"image": data}, [IMAGE], batch_size=batch_size)
    assert feeds.n_samples == n
    assert feeds.seed is None
    assert max(len(feed["image"]) for feed in feeds) <= batch_size
    np.testing.assert_array_equal(np.concatenate([feed["image"] for feed in feeds]), data)


def test_fixed_batch_is_cut_and_a_remainder_is_refused():
    feeds = load({"image": images(6)}, [FIXED])
    assert [feed["image"].shape for feed in feeds] == [(2, 3, 4, 4)] * 3
    with pytest.raises(CalibrationError, match=r"'image' has 5 samples.*fixed to 2.*multiple of 2"):
        load({"image": images(5)}, [FIXED])


def test_files_and_folders(tmp_path):
    data = images(5)
    np.save(tmp_path / "a.npy", data)
    np.savez(tmp_path / "b.npz", image=data)
    np.savez(tmp_path / "c.npz", data)  # a single unnamed array
    for name in ("a.npy", "b.npz", "c.npz"):
        feeds = load(tmp_path / name, [IMAGE])
        np.testing.assert_array_equal(feeds.feeds[0]["image"], data)
    folder = tmp_path / "npz"
    folder.mkdir()
    np.savez(folder / "0.npz", image=data[:2])
    np.savez(folder / "1.npz", image=data[2:])
    feeds = load(str(folder), [IMAGE])
    assert feeds.n_samples == 5
    np.testing.assert_array_equal(np.concatenate([feed["image"] for feed in feeds]), data)
    folder = tmp_path / "npy"
    folder.mkdir()
    np.save(folder / "image.npy", data)
    np.save(folder / "ids.npy", np.arange(10).reshape(5, 2))
    (feed,) = load(folder, [IMAGE, IDS])
    assert feed["ids"].shape == (5, 2)


def test_states_and_scalars():
    audio = images(4).reshape(4, -1)
    state = np.zeros((2, 1, 8), np.float32)
    feeds = load({"input": audio, "state": state, "sr": np.array(16000)}, SILERO)
    assert [feed["input"].shape for feed in feeds] == [(1, 48)] * 4
    assert all(feed["state"].shape == (2, 1, 8) and feed["sr"].shape == () for feed in feeds)
    assert feeds.n_samples == 4
    wide = np.arange(64, dtype=np.float32).reshape(2, 4, 8)  # one state a sample
    (feed,) = load({"input": audio, "state": wide, "sr": np.full(4, 16000)}, SILERO)
    np.testing.assert_array_equal(feed["state"], wide)
    assert feed["sr"] == 16000
    each = wide.reshape(4, 2, 1, 8)  # an extra first axis
    feeds = load({"input": audio, "state": each, "sr": np.array(16000)}, SILERO)
    assert [feed["state"].tolist() for feed in feeds] == each.tolist()


def test_number_types():
    assert load({"image": images(1, "f8")}, [IMAGE]).feeds[0]["image"].dtype == F32
    ids = load({"ids": np.ones((2, 3), np.uint8)}, [IDS]).feeds[0]["ids"]
    assert ids.dtype == I64
    byte = InputSpec("ids", np.dtype("uint8"), ("batch", "seq"))
    assert load({"ids": np.full((1, 2), 255)}, [byte]).feeds[0]["ids"].dtype == "uint8"
    text = InputSpec("text", "tensor(string)", ("batch",))
    assert load({"text": np.array(["a", "b"])}, [text]).n_samples == 2
    for spec, array, pattern in [
        (IMAGE, images(1).astype("u1"), r"is uint8, the model takes float32"),
        (IDS, np.ones((2, 3), np.float32), r"is float32, the model takes int64"),
        (byte, np.full((1, 2), 256), r"do not fit the model's uint8"),
        (IMAGE, np.full((1, 3, 4, 4), 1e300), r"do not fit the model's float32"),
        (IMAGE, np.full((1, 3, 4, 4), np.nan, np.float32), r"holds NaN in 1 of 1 rows, first in row 0"),
        (IMAGE, np.full((1, 3, 4, 4), -np.inf, np.float32) * images(1), r"holds Inf in 1 of 1"),
        (InputSpec("s", "seq(tensor(float))", ()), np.ones(2), r"name arrays after.*: s\[0\]"),
    ]:
        with pytest.raises(CalibrationError, match=rf"array '{spec.name}'.*{pattern}"):
            load({spec.name: array}, [spec])


def test_an_added_mask_may_hide_with_inf() -> None:
    """What is added to scores before a softmax; NaN in it are none the less refused."""
    spec = InputSpec("mask", np.dtype("float16"), ("batch", "seq"))
    mask = np.where(np.arange(8) < np.arange(1, 9)[:, None], 0.0, -np.inf)
    np.testing.assert_array_equal(load({"mask": mask}, [spec]).feeds[0]["mask"], mask)
    mask[5, 0] = np.nan
    with pytest.raises(CalibrationError, match="holds NaN and Inf in 7 of 8 rows, first in row 0"):
        load({"mask": mask}, [spec])
    mask[:] = 1
    mask[[3, 6]] = np.nan
    with pytest.raises(CalibrationError, match="holds NaN in 2 of 8 rows, first in row 3"):
        load({"mask": mask}, [spec])


@pytest.mark.parametrize(
    ("arrays", "pattern"),
    [
        ({"image": images(2), "label": np.ones(2)}, r"'label' is not an input.*image, ids"),
        ({"image": images(2)}, r"no array for input 'ids'"),
        ({"image": images(2), "ids": np.ones((3, 4), int)}, r"'image' has 2 samples, 'ids' has 3"),
        (
            {"image": images(2)[:, :2], "ids": np.ones((2, 4), int)},
            r"\(2, 2, 4, 4\).*\(batch, 3, 4, 4\)",
        ),
        ({"image": images(2)[0], "ids": np.ones((2, 4), int)}, r"\(3, 4, 4\).*first axis"),
        (
            {"image": images(0), "ids": np.ones((0, 4), int)},
            r"'image' of shape \(0, 3, 4, 4\) has no sample",
        ),
    ],
)
def test_arrays_that_do_not_fit(arrays, pattern, tmp_path):
    path = tmp_path / "data.npz"
    np.savez(path, **arrays)
    with pytest.raises(CalibrationError, match=pattern) as caught:
        load(path, [IMAGE, IDS])
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


HEADER = b"\x93NUMPY\x01\x00\x04\x00"
"""Of a .npy file whose array is described in four bytes."""


@pytest.mark.skipif(sys.platform == "win32", reason="no named pipes")
def test_files_that_cannot_be_read(tmp_path):
    np.savez(tmp_path / "pickled.npz", image=np.array([{}], object))
    np.savez(tmp_path / "cut.npz", image=images(2))
    (tmp_path / "cut.npz").write_bytes((tmp_path / "cut.npz").read_bytes()[:100])
    (tmp_path / "text.npy").write_text("hello")
    (tmp_path / "call.npy").write_bytes(HEADER + b"f(1)")
    huge = b"{'descr': '<f4', 'fortran_order': False, 'shape': (1152921504606846976, 24)}".ljust(256)
    (tmp_path / "huge.npy").write_bytes(HEADER[:-2] + b"\x00\x01" + huge)
    np.save(tmp_path / "objects.npy", np.array([{}], object))
    os.mkfifo(tmp_path / "pipe.npy")
    (tmp_path / "zeros.npz").symlink_to("/dev/zero")
    (tmp_path / "data.csv").write_text("1,2")
    (tmp_path / "empty").mkdir()
    (tmp_path / "zero.npy").write_bytes(b"")
    np.save(tmp_path / "two.npy", images(2))
    for name, pattern in [
        ("pickled.npz", "Python objects"),
        ("objects.npy", "Python objects"),
        ("cut.npz", "cannot be read: it is cut short"),
        ("huge.npy", "cannot be read: it is cut short: shape .* has 0;"),
        ("call.npy", "the header of its array is malformed"),
        ("text.npy", r"no \.npy file"),
        ("zero.npy", "the file is empty"),
        ("pipe.npy", "is a device or a pipe"),
        ("zeros.npz", "is a device or a pipe"),
        ("data.csv", r"not a \.npz or \.npy file"),
        ("empty", r"holds no \.npz or \.npy"),
        ("none.npz", "no such file"),
        ("two.npy", r"one array for a model with 2 inputs"),
    ]:
        with pytest.raises(CalibrationError, match=pattern) as caught:
            load(tmp_path / name, [IMAGE, IDS])
        assert str(caught.value).startswith(str(tmp_path / name))
        assert "\n" not in str(caught.value)


def test_labels(tmp_path):
    path = tmp_path / "labels.npy"
    np.save(path, np.array([[1], [0], [9]], np.uint8))
    labels = load_labels(path, 3)
    assert labels.dtype == np.int64
    assert labels.tolist() == [1, 0, 9]
    for array, pattern in [
        (np.ones(3), "float64"),
        (np.ones(4, int), r"\(4,\) for 3 calibration samples"),
        (np.array([0, -1, 2]), "-1 is negative"),
        (np.array(1), r"shape \(\)"),
    ]:
        np.save(path, array)
        with pytest.raises(CalibrationError, match=pattern) as caught:
            load_labels(path, 3)
        assert str(caught.value).startswith(str(path))


def test_large_samples_come_in_small_runs():
    side = int((MAX_RUN_ELEMENTS / 3) ** 0.5)
    spec = InputSpec("image", np.dtype("float32"), ("n", 1, None, None))
    feeds = load({"image": np.zeros((8, 1, side, side), np.float32)}, [spec])
    assert feeds.sizes == (3, 3, 2)
    wide = np.zeros((4, 1, 2 * side, 2 * side), np.float32)
    assert load({"image": wide}, [spec]).sizes == (2, 2)


@pytest.mark.parametrize("order", ["C", "F"])
def test_a_file_that_is_cut_short_later_was_read_before(order, tmp_path):
    """A mapped file would end the process by a signal."""
    array = np.asarray(np.arange(600_000.0).reshape(1000, 600), order=order)
    path = tmp_path / "x.npy"
    np.save(path, array)
    feeds, _ = load_calibration(path, [InputSpec("x", np.dtype(np.float64), ("n", 600))])
    os.truncate(path, 200)
    np.testing.assert_array_equal(np.concatenate([feed["x"] for feed in feeds]), array)
