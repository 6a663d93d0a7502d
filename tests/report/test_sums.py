"""The bytes of a report and of a listing are those of the files, to the last one."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import onnx
import pytest

import onnxzip
from onnxzip import graph
from onnxzip.graph.writing import files
from tests.casebook.kit import Draft, value
from tests.cases import CASES
from tests.judge import judge_report
from tests.speed import tell_times
from tests.test_models import MODELS

SPEED = {"objective": "speed", "tolerance": 0.6}
RUNS: dict[str, tuple[str, dict[str, object]]] = {
    "coded": ("residual_network", {"level": 6, "tolerance": 0.6}),
    "packed": ("residual_network", {"level": 1}),
    "keep names": ("residual_network", {"level": 6, "keep_names": True}),
    "external": ("external_one_file", {}),
    "external constant": ("external_constant", {}),
    "lossless": ("boolean_mask", {"level": 6}),
    "int8": ("residual_network", SPEED),
    "tied": ("tied_embedding", {"level": 2}),
    "half": ("float16_conv", {}),
    "function": ("function_called_twice", {}),
}


@cache
def compress(key: str) -> tuple[onnxzip.Report, bytes, onnx.ModelProto]:
    """Return the report, the original's size on disk, and the compressed file."""
    name, settings = RUNS[key]
    with TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as monkeypatch:
        tell_times(monkeypatch)
        path, out = CASES[name].write(Path(folder)), Path(folder) / "small.onnx"
        report = onnxzip.compress(path, out, **settings).report
        if not key.startswith("external"):
            judge_report(path, out, report)
        return report, out.read_bytes(), onnx.load(out)


@pytest.mark.parametrize("key", RUNS)
def test_the_decoder_takes_what_is_missing_without_it(key: str) -> None:
    """Counted without onnxzip: the graph's size with and without nodes, initializers and entries."""
    report, data, proto = compress(key)
    n_nodes = json.loads(proto.metadata_props[-1].value)["n"]
    bare = onnx.GraphProto()
    bare.CopyFrom(proto.graph)
    made = {name for node in bare.node[:n_nodes] for name in node.output}
    read = {name for node in bare.node[:n_nodes] for name in node.input}
    read -= {name for node in bare.node[n_nodes:] for name in node.input}
    del bare.node[:n_nodes]
    for field, gone in ((bare.initializer, read), (bare.value_info, made)):
        for i in reversed(range(len(field))):
            if field[i].name in gone:
                del field[i]
    n_bytes = proto.graph.ByteSize() - bare.ByteSize()
    assert graph.decoder_bytes(graph.read_model(data), n_nodes) == n_bytes
    counted = sum(layer.bytes_after for layer in report.layers) + report.small_after
    assert counted < n_bytes if key == "int8" else counted == n_bytes  # steps go with the graph


@pytest.mark.parametrize("key", RUNS)
def test_a_report_sums_up_to_the_files(key: str) -> None:
    report, data, _ = compress(key)
    assert report.bytes_after == len(data)
    after = sum(layer.bytes_after for layer in report.layers) + report.small_after
    assert report.rest_after == len(data) - after > 0
    before = sum(layer.bytes_before for layer in report.layers) + report.small_before
    assert report.rest_before == report.bytes_before - before >= 0
    assert all(layer.bytes_after > 0 for layer in report.layers)


@pytest.mark.parametrize("key", RUNS)
def test_a_listing_says_what_the_report_says(key: str) -> None:
    report, data, _ = compress(key)
    found = onnxzip.inspect(data)
    assert sum(w.n_bytes for w in found.weights) + found.rest_after == found.n_bytes == len(data)
    assert sum(w.bytes_before for w in found.weights) + found.rest_before == found.bytes_before
    taken = [w for w in found.weights if w.pass_name not in ("plain", "rounding")]
    assert sorted(w.n_bytes for w in taken) == sorted(x.bytes_after for x in report.layers)
    small = sum(w.n_bytes for w in found.weights if w.pass_name == "rounding")
    assert small == report.small_after
    plain = sum(w.n_bytes for w in found.weights if w.pass_name == "plain")
    assert found.rest_after + plain == report.rest_after


def test_some_have_small_tensors_and_int8() -> None:
    assert compress("coded")[0].small_after > 0
    assert any(rewrite.pass_name == "int8" for rewrite in compress("int8")[0].rewrites)


def test_the_errors_of_report_and_file_agree() -> None:
    """Also where the planner only had an estimate between two rates."""
    for key in ("coded", "function"):
        report, data, _ = compress(key)
        listed = {(w.n_bytes, w.error) for w in onnxzip.inspect(data).weights}
        wanted = {(x.bytes_after, float(f"{x.error:.2g}")) for x in report.layers}
        assert wanted <= listed


def test_a_file_with_estimates_is_apportioned_anew() -> None:
    """As older versions wrote it: sizes that do not sum up to what the decoder takes."""
    report, _, proto = compress("coded")
    record = json.loads(proto.metadata_props[-1].value)
    record["w"] = [3 * x if i % 3 == 1 else x for i, x in enumerate(record["w"])]
    old = onnx.ModelProto()
    old.CopyFrom(proto)
    old.metadata_props[-1].value = json.dumps(record)
    found = onnxzip.inspect(old)
    n_decoder = sum(layer.bytes_after for layer in report.layers) + report.small_after
    assert sum(w.n_bytes for w in found.weights if w.pass_name != "plain") == n_decoder
    assert found.rest_after > 0


def test_external_data_and_its_padding_are_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Above 2 GiB arrays lie in a file of their own, at multiples of 4096 bytes."""
    for module in (files, graph):
        monkeypatch.setattr(module, "MAX_INLINE_BYTES", 1000)
    out = tmp_path / "out" / "small.onnx"
    out.parent.mkdir()
    settings = {"level": 1, "passes": "scalar", "keep": "w2"}
    report = onnxzip.compress(CASES["two_layer_perceptron"].build(), out, **settings).report
    n_bytes = sum(path.stat().st_size for path in out.parent.iterdir())
    assert len(list(out.parent.iterdir())) == 2
    after = [layer.bytes_after for layer in report.layers]
    assert sum(after) + report.small_after + report.rest_after == report.bytes_after == n_bytes
    tensors = onnx.load(out, load_external_data=False).graph.initializer
    entries = [{e.key: e.value for e in t.external_data} for t in tensors if t.external_data]
    n_padding = sum(-int(e["length"]) % 4096 for e in entries if int(e["offset"]) == 0)
    assert len(entries) >= 2
    assert n_padding > 0
    assert report.rest_after > n_padding
    found = onnxzip.inspect(out)
    assert sum(w.n_bytes for w in found.weights) + found.rest_after == found.n_bytes == n_bytes
    assert sorted(w.n_bytes for w in found.weights if w.pass_name == "scalar") == sorted(after)


def test_any_model_is_listed() -> None:
    found = onnxzip.inspect(MODELS / "digits_gru.onnx")
    assert sum(w.n_bytes for w in found.weights) + found.rest_after == found.n_bytes
    assert 0 < found.rest_after == found.rest_before


def test_weights_at_one_place_take_it_once(tmp_path: Path) -> None:
    """Two initializers may name the same bytes of an external file."""
    draft = Draft()
    draft.add("MatMul", ["x", draft.weight("a", 64, 64)], "h")
    draft.add("MatMul", ["h", draft.weight("b", 64, 64)], "y")
    model = draft.model([value("x", [2, 64])], [value("y", [2, 64])])
    path = tmp_path / "model.onnx"
    onnx.save(model, path, save_as_external_data=True, location="data", size_threshold=0)
    model = onnx.load(path, load_external_data=False)
    first, second = model.graph.initializer
    del second.external_data[:]
    second.external_data.extend(first.external_data)
    path.write_bytes(model.SerializeToString())
    data = tmp_path / "data"
    data.write_bytes(data.read_bytes()[: 4 * 64 * 64])
    found = onnxzip.inspect(path)
    assert found.n_bytes == path.stat().st_size + data.stat().st_size
    assert sum(w.n_bytes for w in found.weights) == found.n_bytes < 2 * 4 * 64 * 64
    assert found.rest_after == 0
