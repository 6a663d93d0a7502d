"""Data outside of the model's file: found wherever a tensor may be, read once, counted once."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
from google.protobuf.message import Message
from onnx import TensorProto, helper, numpy_helper

from onnxzip.disk.own_copy import Found
from onnxzip.errors import ModelError
from onnxzip.graph import read_model, to_proto
from onnxzip.graph.reading.external_data import iter_tensors

VALUES = np.arange(4, dtype=np.float32)


def every_tensor(message: Message) -> Iterator[TensorProto]:
    """Yield all tensors in a protobuf message, by what its schema says."""
    if isinstance(message, TensorProto):
        yield message
        return
    for field, value in message.ListFields():
        if field.message_type is not None:
            for inner in [value] if isinstance(value, Message) else value:
                yield from every_tensor(inner)


def fill(message: Message, depth: int) -> None:
    """Give a message one of everything that its schema has room for, down to a depth."""
    for field in message.DESCRIPTOR.fields:
        if field.message_type is None or depth == 0:
            continue
        value = getattr(message, field.name)
        fill(value if isinstance(value, Message) else value.add(), depth - 1)
    if isinstance(message, TensorProto):
        message.name = "t"


def test_no_place_of_a_tensor_is_missed() -> None:
    """Whatever onnx adds to its schema: the model below has a tensor at every place there is."""
    model = onnx.ModelProto()
    fill(model, 7)
    assert len(list(every_tensor(model))) > 50
    for _, tensor in iter_tensors(model):
        tensor.name = "found"
    assert {tensor.name for tensor in every_tensor(model)} == {"found"}


def external(folder: Path, name: str, file: str = "w.data", offset: int = 0) -> TensorProto:
    """Return a tensor of VALUES whose data lie in a file, which is written if it is not there."""
    path = folder / file
    if not path.exists():
        path.write_bytes(bytes(offset) + VALUES.tobytes())
    tensor = TensorProto(name=name, data_type=TensorProto.FLOAT, dims=[4])
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in (("location", file), ("offset", offset), ("length", VALUES.nbytes)):
        tensor.external_data.add(key=key, value=str(value))
    return tensor


def make_model(*initializers: TensorProto, nodes: tuple[onnx.NodeProto, ...] = ()) -> onnx.ModelProto:
    x, y = (helper.make_tensor_value_info(n, TensorProto.FLOAT, [4]) for n in "xy")
    chain = ["x", *(f"h{i}" for i in range(len(initializers)))]
    adds = [
        helper.make_node("Add", [chain[i], tensor.name], [chain[i + 1]])
        for i, tensor in enumerate(initializers)
    ]
    last = helper.make_node("Identity", [chain[-1]], ["y"])
    graph = helper.make_graph([*nodes, *adds, last], "g", [x], [y], initializers)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def hide(place: str, folder: Path) -> onnx.ModelProto:
    """Return a model with one external tensor at a place."""
    tensor = external(folder, "hidden")
    places = numpy_helper.from_array(np.arange(4), "")
    sparse = helper.make_sparse_tensor(tensor, places, [8])
    if place == "initializer":
        return make_model(tensor)
    if place == "attribute":
        return make_model(nodes=(helper.make_node("Constant", [], ["c"], value=tensor),))
    model = make_model()
    inner = helper.make_graph([helper.make_node("Identity", ["hidden"], ["o"])], "b", [], [], [tensor])
    if place == "sparse initializer":
        model.graph.sparse_initializer.append(sparse)
    elif place == "sparse indices":
        sparse.values.CopyFrom(numpy_helper.from_array(VALUES, "hidden"))
        tensor.data_type, tensor.dims[0] = TensorProto.INT64, 2
        sparse.indices.CopyFrom(tensor)
        model.graph.sparse_initializer.append(sparse)
    elif place == "subgraph":
        model.graph.node.append(helper.make_node("If", ["x"], [], then_branch=inner, else_branch=inner))
    elif place == "sparse attribute":
        model.graph.node.append(helper.make_node("Constant", [], ["c"], sparse_value=sparse))
    elif place == "list in an attribute":
        attribute = onnx.AttributeProto(name="t", type=onnx.AttributeProto.TENSORS, tensors=[tensor])
        model.graph.node.append(helper.make_node("Mystery", [], ["c"], domain="my.own"))
        model.graph.node[-1].attribute.append(attribute)
    elif place == "function":
        constant = helper.make_node("Constant", [], ["o"], value=tensor)
        opsets = [helper.make_opsetid("", 17)]
        model.functions.append(helper.make_function("my.own", "F", [], ["o"], [constant], opsets))
        model.graph.node.append(helper.make_node("F", [], ["c"], domain="my.own"))
    elif place == "training":
        model.training_info.add().algorithm.CopyFrom(inner)
    return model


@pytest.mark.parametrize(
    "place",
    [
        *("initializer", "attribute", "sparse initializer", "sparse indices", "subgraph"),
        *("sparse attribute", "list in an attribute", "function", "training"),
    ],
)
def test_data_come_inside_wherever_they_hide(
    place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The working directory has another file of the name, which plays no part."""
    path, decoy = tmp_path / "model.onnx", tmp_path / "decoy"
    decoy.mkdir()
    (decoy / "w.data").write_bytes(bytes(VALUES.nbytes))
    model = hide(place, tmp_path)
    path.write_bytes(model.SerializeToString())
    monkeypatch.chdir(decoy)
    read = read_model(path)
    (tmp_path / "w.data").unlink()
    found = list(every_tensor(to_proto(read)))
    assert all(tensor.data_location != TensorProto.EXTERNAL for tensor in found)
    assert any(tensor.raw_data == VALUES.tobytes() for tensor in found)
    assert read.n_bytes == path.stat().st_size + VALUES.nbytes
    assert read.files == (path, tmp_path / "w.data")
    with pytest.raises(ModelError, match="pass the model's path instead"):
        read_model(model)


def test_what_is_shared_counts_once_and_what_is_not_referred_to_not_at_all(tmp_path: Path) -> None:
    tensors = [external(tmp_path, name, offset=8_000_000) for name in "abc"]
    os.link(tmp_path / "w.data", tmp_path / "link.data")
    tensors.append(external(tmp_path, "d", "link.data", 8_000_000))
    tensors.append(external(tmp_path, "e", offset=7_999_992))  # half of it is of the others
    path = tmp_path / "model.onnx"
    path.write_bytes(make_model(*tensors).SerializeToString())
    assert read_model(path).n_bytes == path.stat().st_size + VALUES.nbytes + 8


@pytest.mark.parametrize("what", ["data", "model"])
def test_a_file_that_is_replaced_between_two_is_refused(
    what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An exporter writes both anew: the old model and the new data do not belong together."""
    path = tmp_path / "model.onnx"
    path.write_bytes(
        make_model(external(tmp_path, "a"), external(tmp_path, "b", "v.data")).SerializeToString()
    )
    replaced = path if what == "model" else tmp_path / "w.data"
    look, seen = Found.at.__func__, []

    def at(cls: type[Found], place: Path) -> Found:
        found: Found = look(cls, place)
        if place.name == "v.data" and not seen:
            seen.append(place)
            other = tmp_path / "new"
            other.write_bytes(replaced.read_bytes())
            other.replace(replaced)
        return found

    monkeypatch.setattr(Found, "at", classmethod(at))
    place = "its data .*" if what == "data" else ""
    with pytest.raises(ModelError, match=rf"model\.onnx: {place}cannot be read: another program"):
        read_model(path)
    assert seen


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("offset", "nan", "offset is 'nan', no number"),
        ("length", "0x10", "length is '0x10', no number"),
        ("offset", "9" * 5000, "offset is '9{19}...', no number"),
        ("location", "w.data\0x", "at a location with a NUL"),
    ],
)
def test_entries_that_say_no_place(key: str, value: str, words: str, tmp_path: Path) -> None:
    tensor = external(tmp_path, "t")
    next(entry for entry in tensor.external_data if entry.key == key).value = value
    path = tmp_path / "model.onnx"
    path.write_bytes(make_model(tensor).SerializeToString())
    with pytest.raises(ModelError, match=f"initializer 't' has external data .*{words}"):
        read_model(path)


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """Return a model as Hugging Face's cache holds it: it and its data are links to their contents."""
    blobs, snapshot = tmp_path / "blobs", tmp_path / "snapshots" / "main"
    for folder in (blobs, snapshot):
        folder.mkdir(parents=True)
    onnx.save(make_model(external(blobs, "w")), blobs / "1")
    (blobs / "w.data").rename(blobs / "2")
    (snapshot / "model.onnx").symlink_to("../../blobs/1")
    (snapshot / "w.data").symlink_to("../../blobs/2")
    return snapshot / "model.onnx"


@pytest.mark.parametrize("kind", ["relative", "absolute", "folder", "chain", "beside the link"])
def test_links_are_followed_to_where_the_models_own_leads(cache: Path, kind: str) -> None:
    data, blob = cache.with_name("w.data"), cache.parents[2] / "blobs" / "2"
    if kind == "absolute":
        data.unlink()
        data.symlink_to(blob)
    elif kind == "folder":
        (cache.parents[1] / "now").symlink_to("main")
        cache = cache.parents[1] / "now" / cache.name
    elif kind == "chain":
        data.rename(data.with_name("other"))
        data.symlink_to("other")
    elif kind == "beside the link":
        data.unlink()
        blob.rename(data)
    assert np.array_equal(read_model(cache).array(read_model(cache).proto.graph.initializer[0]), VALUES)


@pytest.mark.parametrize(
    ("target", "finding"),
    [
        ("../../blobs/3", "'w.data', which is missing; put it beside the model"),
        ("../../blobs", "'w.data', which is a directory; put the file there"),
        ("/dev/zero", "'w.data', a link that leads out of the model's folder, to /dev/zero; put"),
        ("w.data", "'w.data', a link that leads back to itself; put the file there"),
        ("../../elsewhere", "'w.data', a link that leads out of the model's folder, to "),
    ],
)
def test_links_that_lead_nowhere_or_elsewhere_are_refused(
    cache: Path, target: str, finding: str
) -> None:
    data = cache.with_name("w.data")
    (cache.parents[2] / "elsewhere").write_bytes(VALUES.tobytes())
    data.unlink()
    data.symlink_to(target)
    with pytest.raises(ModelError) as raised:
        read_model(cache)
    assert f"{cache}: initializer 'w' refers to external data {finding}" in str(raised.value)


@pytest.mark.parametrize("location", ["../blobs/2", "../../blobs/2", "{}/2", "sub/../../../blobs/2"])
def test_what_a_file_says_never_leads_out_of_its_folder(cache: Path, location: str) -> None:
    """Also where a link of the user's may lead."""
    location = location.format(cache.parents[2] / "blobs")
    proto = onnx.load(cache, load_external_data=False)
    proto.graph.initializer[0].external_data[0].value = location
    onnx.save(proto, cache.parents[2] / "blobs" / "1")
    with pytest.raises(ModelError, match="outside the model's folder: "):
        read_model(cache)


@pytest.mark.parametrize("location", ["a" * 300, "a/" * 1000, "a" * 5000, "a\0b"])
def test_locations_that_are_no_paths_are_one_line(tmp_path: Path, location: str) -> None:
    tensor = external(tmp_path, "w")
    tensor.external_data[0].value = location
    onnx.save(make_model(tensor), tmp_path / "model.onnx")
    with pytest.raises(ModelError, match=r"; (export the model again|put it beside|check the path)"):
        read_model(tmp_path / "model.onnx")
