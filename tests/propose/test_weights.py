"""Which weights may lose anything."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from onnxzip import compress
from onnxzip.errors import ToleranceError
from onnxzip.graph import read_model
from onnxzip.options import Options
from onnxzip.propose.weights import find_offered
from onnxzip.report.tables.verdicts import overall_verdict
from tests.casebook.kit import BATCH, Draft, value


def quantised(n_floats: int) -> onnx.ModelProto:
    """Return a model of an int8 matrix of 32,768 numbers, and a float one of so many columns of 128."""
    draft = Draft()
    integers = np.clip(np.rint(draft.rng.laplace(0, 8, (256, 128))), -127, 127).astype(np.int8)
    scale = draft.tensor("scale", np.float32(0.01))
    wide = draft.add("DequantizeLinear", [draft.tensor("integers", integers), scale], "wide")
    draft.add("MatMul", ["x", wide], "h")
    draft.add("MatMul", ["h", draft.weight("floats", 128, n_floats)], "y")
    return draft.model([value("x", [BATCH, 256])], [value("y", [BATCH, n_floats])])


@pytest.mark.parametrize(("n_floats", "expected"), [(3, ["integers"]), (4, ["floats", "integers"])])
def test_few_floats_of_a_quantised_model_lose_nothing(n_floats: int, expected: list[str]) -> None:
    """1,536 bytes are less than a 20th of 32,768; 2,048 are not."""
    model = read_model(quantised(n_floats))
    found = find_offered(model, Options())
    assert sorted(layer.name for layer in found.layers) == expected
    assert [skip.layer for skip in found.skips] == ["floats"][: n_floats == 3]
    for asked in (Options(target_size=30_000), Options(objective="speed")):
        assert len(find_offered(model, asked).layers) == 2


def test_nothing_lost_is_called_equal() -> None:
    report = compress(quantised(3)).report
    assert overall_verdict(report.checks) == "equal"
    assert [layer.pass_name for layer in report.layers] == ["lossless"]
    assert report.ratio > 1.1


def test_long_names_alone_are_worth_a_file() -> None:
    """Quantised models have six values a weight, each named after the one before it."""
    draft = Draft()
    for i in range(40):
        name = f"/encoder/layer.{i}/attention/self/value/MatMul_output_0_QuantizeLinear_Output"
        source = "x" if not i else f"{name.replace(str(i), str(i - 1), 1)}"
        draft.add("Relu", [source], name if i < 39 else "y")
    proto = draft.model([value("x", [BATCH, 8])], [value("y", [BATCH, 8])])
    result = compress(proto)
    assert result.report.ratio > 2
    assert result.model is not None
    assert [node.op_type for node in result.model.graph.node] == ["Relu"] * 40
    assert overall_verdict(result.report.checks) == "equal"
    for settings in ({"keep_names": True}, {"level": 3}):
        with pytest.raises(ToleranceError, match="no weight can be made smaller"):
            compress(proto, **settings)


def test_a_level_that_only_packs_names_those_that_code() -> None:
    """Of integers that fill their type, a byte each, there is nothing to pack."""
    draft = Draft()
    integers = np.clip(np.rint(draft.rng.normal(0, 45, (256, 128))), -127, 127).astype(np.int8)
    scale = draft.tensor("scale", np.float32(0.01))
    wide = draft.add("DequantizeLinear", [draft.tensor("integers", integers), scale], "wide")
    draft.add("MatMul", ["x", wide], "y")
    proto = draft.model([value("x", [BATCH, 256])], [value("y", [BATCH, 128])])
    with pytest.raises(ToleranceError, match="a level of 4 or above"):
        compress(proto, level=3)
