"""Calibration data as Python scripts hold it: arrays, tensors, loaders, readers; without torch."""

from __future__ import annotations

import collections
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from onnxzip.errors import CalibrationError
from onnxzip.inputs.given.from_files import join_labels, load_calibration, load_labels
from onnxzip.runtime.input_spec import InputSpec

F32, I64 = np.dtype("float32"), np.dtype("int64")
IMAGE = InputSpec("image", F32, ("batch", 3, 4, 4))
FIXED = InputSpec("image", F32, (1, 3, 4, 4))
TEXT = (InputSpec("ids", I64, ("batch", "seq")), InputSpec("mask", I64, ("batch", "seq")))
UNKNOWN_RANK = InputSpec("image", F32, ())


class Tensor:
    """What torch.Tensor does: one with gradients is no array before it is detached and on the CPU."""

    def __init__(self, array: np.ndarray, state: str = "cuda grad") -> None:
        self.array, self.state = array, state

    def detach(self) -> Tensor:
        return Tensor(self.array, self.state.replace("grad", ""))

    def cpu(self) -> Tensor:
        return Tensor(self.array, self.state.replace("cuda", ""))

    def numpy(self) -> np.ndarray:
        if self.state.strip():
            raise TypeError(f"can't convert a {self.state} tensor to numpy")
        return self.array

    def __array__(self, *_: object, **__: object) -> np.ndarray:
        return self.numpy()

    def __iter__(self) -> Iterator[Tensor]:
        return (Tensor(row) for row in self.array)


class Lazy:
    """Anything else that numpy makes an array of."""

    def __init__(self, array: np.ndarray) -> None:
        self.array = array

    def __array__(self, *_: object, **__: object) -> np.ndarray:
        return self.array


class Loader:
    """A torch DataLoader: iterable, any number of times, no sequence."""

    def __init__(self, *batches: Any) -> None:
        self.batches = batches

    def __iter__(self) -> Iterator[Any]:
        return iter(self.batches)


class Reader:
    """The shape of onnxruntime's CalibrationDataReader."""

    def __init__(self, feeds: Any) -> None:
        self.feeds = iter(feeds)

    def get_next(self) -> Any:
        return next(self.feeds, None)


def images(n: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal((n, 3, 4, 4)).astype(np.float32)


@pytest.mark.parametrize("wrap", [np.asarray, Tensor, Lazy], ids=lambda wrap: wrap.__name__)
def test_an_array_is_the_samples_of_the_one_input(wrap: Any) -> None:
    data = images(21)
    feeds, labels = load_calibration(wrap(data), [IMAGE])
    assert (feeds.sizes, list(labels)) == ((7, 7, 7), [])
    np.testing.assert_array_equal(np.concatenate([feed["image"] for feed in feeds]), data)
    named, _ = load_calibration({"image": wrap(data)}, [IMAGE])
    assert named.sizes == feeds.sizes
    with pytest.raises(CalibrationError, match=r"is one array, the model has 2 inputs \(ids, mask\)"):
        load_calibration(wrap(data), TEXT)


@pytest.mark.parametrize("wrap", [np.asarray, Tensor, Lazy], ids=lambda wrap: wrap.__name__)
@pytest.mark.parametrize("source", [Loader, lambda *b: list(b), lambda *b: iter(b)])
@pytest.mark.parametrize("kind", ["plain", "pair", "single", "list"])
def test_every_batch_counts_with_its_samples(wrap: Any, source: Any, kind: str) -> None:
    data = images(11)
    make = {
        "plain": lambda x: x,
        "pair": lambda x: (x, "y, which nobody looks at"),
        "single": lambda x: (x,),
        "list": lambda x: [x, None],
    }[kind]
    batches = (make(wrap(part)) for part in np.split(data, [4, 8]))
    feeds, labels = load_calibration(source(*batches), [IMAGE])
    assert feeds.sizes == (4, 4, 3)
    assert len(labels) == (3 if kind in ("pair", "list") else 0)
    np.testing.assert_array_equal(np.concatenate([feed["image"] for feed in feeds]), data)


@pytest.mark.parametrize("spec", [IMAGE, FIXED, UNKNOWN_RANK], ids=["free", "fixed", "unknown"])
def test_batches_for_a_fixed_batch_are_cut(spec: InputSpec) -> None:
    data = images(6)
    for batches in ([data[:4], data[4:]], [{"image": data[:4]}, {"image": data[4:]}]):
        feeds, _ = load_calibration(batches, [spec])
        assert feeds.n_samples == 6
        assert len(feeds) == (6 if spec is FIXED else 2)


def test_labels_come_in_batches() -> None:
    data, classes = images(5), np.arange(5)
    batches = [(Tensor(data[:3]), Tensor(classes[:3])), (Tensor(data[3:]), Tensor(classes[3:]))]
    feeds, labels = load_calibration(Loader(*batches), [IMAGE])
    assert load_labels(join_labels(labels), feeds.n_samples).tolist() == [0, 1, 2, 3, 4]
    assert load_labels(Tensor(classes), 5).tolist() == load_labels([0, 1, 2, 3, 4], 5).tolist()
    with pytest.raises(CalibrationError, match="for 6 calibration samples"):
        load_labels(join_labels(labels), 6)
    with pytest.raises(CalibrationError, match="differ in shape"):
        join_labels([np.zeros(3, int), np.zeros((3, 2), int)])
    with pytest.raises(CalibrationError, match="labels are <U1"):
        load_labels(join_labels([np.array(["a"])]), 1)


def test_dicts_of_tensors() -> None:
    ids = np.arange(12).reshape(4, 3)
    batch = collections.UserDict(ids=Tensor(ids), mask=Tensor(ids % 2))  # a BatchEncoding is a UserDict
    feeds, labels = load_calibration(Loader(batch, batch), TEXT)
    assert (feeds.sizes, list(labels)) == ((4, 4), [])
    feeds, labels = load_calibration(Loader((batch, Tensor(np.zeros(4)))), TEXT)
    assert (feeds.sizes, len(labels)) == ((4,), 1)
    batch.update(labels=Tensor(ids[:, 0]), token_type_ids=Tensor(ids))
    with pytest.raises(CalibrationError, match="array 'labels', 'token_type_ids' are no inputs"):
        load_calibration(Loader(batch), TEXT)


@pytest.mark.parametrize("wrap", [list, iter, Reader])
def test_feeds_are_runs_as_they_come(wrap: Any) -> None:
    sizes = (2, 30)  # more than are put into a run of arrays
    feeds, _ = load_calibration(wrap([{"image": images(n)} for n in sizes]), [IMAGE])
    assert feeds.sizes == sizes
    assert [len(feed["image"]) for feed in feeds] == [2, 30]
    with pytest.raises(CalibrationError, match="no batches"):
        load_calibration(wrap([]), [IMAGE])
    wrong = {"image": np.ones((2, 2), np.float32)}
    with pytest.raises(CalibrationError, match=r"batch 1: array 'image' has shape \(2, 2\)"):
        load_calibration(wrap([{"image": images(2)}, wrong]), [IMAGE])


@pytest.mark.parametrize(
    ("item", "message"),
    [
        (3, "batch 0: is a int; yield arrays"),
        ("x", "batch 0: is a str"),
        ([], "batch 0: is a list"),
        ((), "batch 0: is a tuple"),
        (([1, 2], 3), "batch 0: is a list"),
        ((images(1), 1, 2), "batch 0: is 3 things"),
        (images(1)[0], r"shape \(3, 4, 4\).*the first axis is the samples"),
        (images(1).astype(np.uint8), "is uint8, the model takes float32"),
        (Tensor(images(1), "bfloat16"), "a Tensor cannot be turned into an array: TypeError"),
        ({"image": [[1], [2, 3]]}, "a list cannot be turned into an array"),
    ],
)
def test_batches_of_the_wrong_kind(item: Any, message: str) -> None:
    with pytest.raises(CalibrationError, match=message) as caught:
        load_calibration([item], [IMAGE])
    assert str(caught.value).startswith("calibration batch 0: ")
    assert "\n" not in str(caught.value)


def failing(n_batches: int) -> Iterator[np.ndarray]:
    for _ in range(n_batches):
        yield images(2)
    raise OSError("disk full")


@pytest.mark.parametrize("n_batches", [0, 3])
def test_what_a_loader_raises_is_told_with_its_batch(n_batches: int) -> None:
    with pytest.raises(CalibrationError, match=f"batch {n_batches}: cannot be read: OSError: disk full"):
        load_calibration(failing(n_batches), [IMAGE])
