"""Files with a valid mark that somebody made to do harm: -l, -t and -d answer in one line, or refuse."""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from onnxzip.cli.main import main
from onnxzip.prove import decoded_files

ESCAPE = "\x1b[31m\x1b]0;title\x07"
ONE = np.ones((1, 1), np.float32)


def value(name: str, shape: Any, data_type: int = 1) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, data_type, shape)


def forged(
    nodes: list[onnx.NodeProto],
    payload: dict[str, np.ndarray],
    *,
    shape: tuple[int, ...] = (1, 1),
    rest: list[onnx.NodeProto] | None = None,
    text: str | None = None,
    **fields: Any,
) -> onnx.ModelProto:
    """Return a model whose first nodes, by its mark, decode one weight of a shape."""
    name = nodes[-1].output[0]
    others = rest or [helper.make_node("Shape", [name], ["y"])]
    tensors = [numpy_helper.from_array(array, key) for key, array in payload.items()]
    graph = helper.make_graph([*nodes, *others], "g", [value("x", [2])], [value("y", None, 7)], tensors)
    graph.value_info.append(value(name, shape))
    model = helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 17)])
    checksum = 0
    for key in dict.fromkeys(key for node in nodes for key in node.input if key in payload):
        checksum = zlib.crc32(np.ascontiguousarray(payload[key]).tobytes(), checksum)
    mark = {"v": 2, "n": len(nodes), "c": checksum, "p": [["scalar", "s"]], "w": [0, 100, 0.1], **fields}
    model.metadata_props.add(key="onnxzip", value=json.dumps(mark) if text is None else text)
    return model


def loop() -> onnx.ModelProto:
    body = helper.make_graph(
        [helper.make_node("Identity", ["go"], ["still"]), helper.make_node("Identity", ["v"], ["w"])],
        "body",
        [value("i", [], 7), value("go", [], 9), value("v", [1, 1])],
        [value("still", [], 9), value("w", [1, 1])],
    )
    node = helper.make_node("Loop", ["times", "yes", "one"], ["W"], body=body)
    return forged([node], {"times": np.array(2**62), "yes": np.array(True), "one": ONE})


def expand(*sizes: int, **attributes: Any) -> onnx.ModelProto:
    node = helper.make_node("Expand", ["one", "shape"], ["W"], **attributes)
    return forged([node], {"one": ONE, "shape": np.array(sizes)}, shape=sizes)


def hidden() -> onnx.ModelProto:
    """Make 4 GB, and cut one number out of it."""
    nodes = [
        helper.make_node("Expand", ["one", "shape"], ["wide"]),
        helper.make_node("Slice", ["wide", "from", "to", "along"], ["W"]),
    ]
    sizes = {"shape": [2**15, 2**15], "from": [0, 0], "to": [1, 1], "along": [0, 1]}
    return forged(nodes, {"one": ONE, **{name: np.array(size) for name, size in sizes.items()}})


def products() -> onnx.ModelProto:
    """Multiply 2,000 times by a matrix of 2048 x 2048."""
    nodes = [helper.make_node("Expand", ["one", "shape"], ["m0"])]
    nodes += [helper.make_node("MatMul", [f"m{i}", "m0"], [f"m{i + 1}"]) for i in range(2000)]
    return forged(nodes, {"one": ONE, "shape": np.array([2048, 2048])}, shape=(2048, 2048))


def identity(name: str = "W", **how: Any) -> onnx.ModelProto:
    return forged([helper.make_node("Identity", ["one"], [name])], {"one": ONE}, **how)


def single(op: str, domain: str = "", **attributes: Any) -> onnx.ModelProto:
    return forged([helper.make_node(op, ["one"], ["W"], domain=domain, **attributes)], {"one": ONE})


REFUSED: dict[str, Callable[[], onnx.ModelProto]] = {
    "endless loop": loop,
    "1.2 GB of one number": lambda: expand(12_000, 25_000),
    "2**70 numbers": lambda: expand(2**40, 2**30),
    "negative size": lambda: expand(-5, 3),
    "an attribute that none has": lambda: expand(1, 1, axis=0),
    "4 GB on the way": hidden,
    "years of products": products,
    "deep brackets": lambda: identity(text="[" * 100_000),
    "deep objects": lambda: identity(text='{"v":' * 100_000),
    "long number": lambda: identity(text='{"v":' + "9" * 5000 + "}"),
    "number of 19 digits": lambda: identity(n=10**18),
    "long float": lambda: identity(text='{"v":2,"w":[0,1,0.' + "1" * 100 + "]}"),
    "unknown field": lambda: identity(x=1),
    "words for numbers": lambda: identity(n="1"),
    "yes for a number": lambda: identity(n=True),
    "escapes in a pass": lambda: identity(p=[[f"[red]{ESCAPE}", "s"]]),
    "another form": lambda: identity(p=[["scalar", "z"]]),
    "unknown operator": lambda: single("Unknown"),
    "random numbers": lambda: single("RandomNormalLike"),
    "operator of another domain": lambda: single("Identity", domain="com.microsoft"),
    "cast to strings": lambda: single("Cast", to=8),
    "cast to nothing": lambda: single("Cast", to=99),
    "transposed by nothing": lambda: single("Transpose"),
}
SHOWN: dict[str, Callable[[], onnx.ModelProto]] = {
    "escapes in a weight": lambda: identity(f"W{ESCAPE}"),
    "turned around": lambda: identity("W\u202egnp"),
}


@pytest.fixture
def call(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    def run(model: onnx.ModelProto, mode: str) -> tuple[int, str, str]:
        path, out = tmp_path / "in.onnx", tmp_path / "plain.onnx"
        path.write_bytes(model.SerializeToString())
        code = main([mode, str(path)] if mode != "-d" else ["-d", "-f", str(path), str(out)])
        streams = capsys.readouterr()
        assert out.exists() == (mode == "-d" and code == 0)
        printed = streams.out + streams.err
        assert all(sign.isprintable() or sign == "\n" for sign in printed)
        assert "internal error" not in printed
        return code, streams.out, streams.err

    return run


@pytest.mark.parametrize("mode", ["-l", "-t", "-d"])
@pytest.mark.parametrize("kind", REFUSED)
def test_harm_is_refused_before_anything_runs(
    kind: str, mode: str, call: Callable[..., tuple[int, str, str]]
) -> None:
    code, out, err = call(REFUSED[kind](), mode)
    assert (code, out, err.count("\n")) == (1, "", 1)


@pytest.mark.parametrize("kind", SHOWN)
def test_names_are_shown_with_escapes(kind: str, call: Callable[..., tuple[int, str, str]]) -> None:
    code, out, err = call(SHOWN[kind](), "-l")
    assert (code, err) == (0, "")
    assert r"W\x1b[31m" in out or r"W\u202e" in out
    assert call(SHOWN[kind](), "-d")[0] == 0


def test_division_by_zero_in_a_decoder_is_one_line(call: Callable[..., tuple[int, str, str]]) -> None:
    """It ends the process that decodes."""
    node = helper.make_node("Div", ["one", "none"], ["W"])
    payload = {"one": np.ones((1, 1), np.int32), "none": np.zeros((1, 1), np.int32)}
    model = forged([node], payload)
    model.graph.value_info[0].type.tensor_type.elem_type = onnx.TensorProto.INT32
    for mode in ("-t", "-d"):
        code, out, err = call(model, mode)
        assert (code, out, err.count("\n")) == (1, "", 1)
        assert "SIGFPE" in err or "decoded" in err


def test_a_file_that_decodes_is_tested(call: Callable[..., tuple[int, str, str]]) -> None:
    for mode in ("-l", "-t", "-d"):
        code, _, err = call(identity(), mode)
        assert (code, err) == (0, "")


def with_rest(*rest: onnx.NodeProto) -> onnx.ModelProto:
    """Return a file that decodes, whose other nodes make an int64 y of x."""
    used = helper.make_node("Shape", ["W"], ["unused"])
    return identity(rest=[used, helper.make_node("Cast", ["x"], ["n"], to=7), *rest])


def endless() -> onnx.ModelProto:
    nodes = [helper.make_node("Identity", [a], [b]) for a, b in (("go", "still"), ("v", "w"))]
    ins = [value("i", [], 7), value("go", [], 9), value("v", [2], 7)]
    body = helper.make_graph(nodes, "body", ins, [value("still", [], 9), value("w", [2], 7)])
    count = numpy_helper.from_array(np.array(2**62), "c")
    return with_rest(
        helper.make_node("Constant", [], ["times"], value=count),
        helper.make_node("Loop", ["times", "", "n"], ["y"], body=body),
    )


def wide() -> onnx.ModelProto:
    sizes = numpy_helper.from_array(np.array([1000, 2]), "s")
    return with_rest(
        helper.make_node("Constant", [], ["sizes"], value=sizes),
        helper.make_node("Expand", ["n", "sizes"], ["y"]),
    )


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (endless, "a run of it is not done after 1 s of CPU time"),
        (wide, "answers with more than "),
    ],
)
def test_what_is_compared_with_an_original_runs_apart_as_well(
    kind: Callable[[], onnx.ModelProto],
    words: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name, number in (("_DECODE_S", 1), ("_RUN_S", 0), ("_TIME_FACTOR", 0)):
        monkeypatch.setattr(decoded_files, name, number)
    monkeypatch.setattr(decoded_files, "_SPARE_ANSWER_BYTES", 0)
    path, original = tmp_path / "in.onnx", tmp_path / "original.onnx"
    path.write_bytes(kind().SerializeToString())
    plain = with_rest(helper.make_node("Neg", ["n"], ["y"]))
    del plain.metadata_props[:]
    original.write_bytes(plain.SerializeToString())
    report = tmp_path / "report.json"
    assert main(["-t", "-q", str(path), "--against", str(original), "--report", str(report)]) == 1
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert re.search(words, err)
    assert str(path) in err
    assert not report.exists()
