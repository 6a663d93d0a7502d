"""What is decoded in rounds: the same file, the same verdict, and faults that show."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

import onnxzip
from onnxzip.errors import VerificationError
from onnxzip.graph import claims_of, read_mark, read_model, round_of, rounds_of
from onnxzip.prove import exact
from onnxzip.prove.decoded_weights import check_folding, decode_weights

MODEL = Path(__file__).parents[2] / "models" / "digits_attention.onnx"


def test_a_file_that_is_proved_in_rounds_is_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reports = []
    for name, most in (("whole", 1 << 28), ("rounds", 1 << 18)):
        monkeypatch.setattr(exact, "_MOST_AT_ONCE", most)
        monkeypatch.setattr(exact, "_MOST_IN_ROUND", most // 2)
        reports.append(onnxzip.compress(MODEL, tmp_path / name, passes=("scalar",), level=6).report)
    assert (tmp_path / "whole").read_bytes() == (tmp_path / "rounds").read_bytes()
    whole, rounds = ({check.kind: check for check in report.checks} for report in reports)
    assert {kind: check.passed for kind, check in whole.items()} == dict.fromkeys(whole, True)
    for kind, check in whole.items():
        assert rounds[kind].passed
        assert rounds[kind].value == pytest.approx(check.value, rel=1e-5, abs=1e-6)
    assert "rounds" in rounds["exact"].note
    assert "rounds" not in whole["exact"].note
    assert reports[0].load_seconds is not None
    assert reports[1].load_seconds is None, "no session loaded the file as its users will"


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> onnxzip.Result:
    return onnxzip.compress(MODEL, level=6, tolerance=0.3)


def test_rounds_decode_each_value_once_within_their_bytes(packed: onnxzip.Result) -> None:
    model = read_model(packed.model)
    n_nodes, _ = read_mark(model)
    claims = claims_of(model, n_nodes)
    assert len(rounds_of(model, n_nodes, 1 << 40)) == 1
    for most in (0, 1 << 18, 1 << 20):
        rounds = rounds_of(model, n_nodes, most)
        assert [name for names in rounds for name in names] == list(claims.decoded)
        for names in rounds:
            part = round_of(model, n_nodes, names)
            nodes = part.model.proto.graph.node[: part.n_nodes]
            n_bytes = sum(claims.values[name].n_bytes for node in nodes for name in node.output)
            assert n_bytes <= most or len(names) == 1
        assert most or len(rounds) == len(claims.decoded)


def test_what_does_not_fold_or_folds_to_something_else_is_refused(packed: onnxzip.Result) -> None:
    model = read_model(packed.model)
    n_nodes, _ = read_mark(model)
    decoded = decode_weights(model, n_nodes)
    parts = [round_of(model, n_nodes, names) for names in rounds_of(model, n_nodes, 1 << 20)]
    assert check_folding(parts, decoded, ["CPU"]) == 0
    name, wrong = next(iter(parts[1].outputs)), dict(decoded)
    wrong[name] = decoded[name] + np.float32(1)
    assert check_folding(parts, wrong, ["CPU"]) > 0.01
    graph = parts[1].model.proto.graph
    graph.node[0].CopyFrom(_unfoldable(graph.node[0]))
    with pytest.raises(VerificationError, match="nodes that decode are left"):
        check_folding(parts, decoded, ["CPU"])


def _unfoldable(node: onnx.NodeProto) -> onnx.NodeProto:
    """Return a node that makes random numbers under the names of another's, of the same shape."""
    attributes = {"dtype": onnx.TensorProto.FLOAT, "shape": [1]}
    return onnx.helper.make_node("RandomNormal", [], list(node.output[:1]), **attributes)
