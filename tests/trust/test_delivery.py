"""What is asked for beside the model."""

from __future__ import annotations

from pathlib import Path

import pytest

import onnxzip
from onnxzip.errors import OutputError
from tests.cases import CASES


def test_a_signature_is_not_left_beside_another_file(tmp_path: Path) -> None:
    out, signature, source = (tmp_path / name for name in ("m.onnx", "m.onnx.sig", "small.onnx"))
    model = CASES["two_layer_perceptron"].build()
    onnxzip.compress(model, source, level=1, passes="scalar")
    signature.symlink_to(tmp_path / "elsewhere")  # which need not be there
    finding = r"m\.onnx\.sig: would not fit the new m\.onnx; sign that with sign, or remove this"
    with pytest.raises(OutputError, match=finding):
        onnxzip.compress(model, out, level=1, passes="scalar", overwrite=True)
    with pytest.raises(OutputError, match=finding):
        onnxzip.decompress(source, out, overwrite=True)
    assert not out.exists()
    signature.unlink()
    onnxzip.decompress(source, out)
