"""The bill of materials: valid by the library's own validator, and true."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

import onnxzip
from onnxzip.errors import UsageError
from tests.trust.keys import FAST, MODEL, pem_pair, run

pytest.importorskip("cyclonedx", reason="needs onnxzip[bom]")


def sha256_of(component: dict[str, Any]) -> str:
    (found,) = component["hashes"]
    assert found["alg"] == "SHA-256"
    return str(found["content"])


def test_it_is_valid_and_says_what_was_made_of_what(tmp_path: Path) -> None:
    pytest.importorskip("jsonschema", reason="needs cyclonedx-python-lib[json-validation]")
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator

    result = onnxzip.compress(
        MODEL, tmp_path / "m.onnx", bom=tmp_path / "m.cdx.json", level=1, passes="scalar"
    )
    text = (tmp_path / "m.cdx.json").read_text()
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    made = json.loads(text)["metadata"]["component"]
    assert (made["type"], made["name"]) == ("machine-learning-model", "m.onnx")
    assert sha256_of(made) == hashlib.sha256((tmp_path / "m.onnx").read_bytes()).hexdigest()
    (original,) = made["pedigree"]["ancestors"]
    assert sha256_of(original) == hashlib.sha256(MODEL.read_bytes()).hexdigest()
    facts = {fact["name"]: fact["value"] for fact in made["properties"]}
    assert facts["onnxzip:setting:level"] == "1"
    tools = {
        tool["name"]: tool["version"] for tool in json.loads(text)["metadata"]["tools"]["components"]
    }
    assert tools == {**result.report.versions}
    (metric,) = made["modelCard"]["quantitativeAnalysis"]["performanceMetrics"]
    (drift,) = (check for check in result.report.checks if check.kind == "drift")
    assert (metric["type"], metric["value"]) == ("nrmse", f"{drift.value:g}")


def test_it_is_signed_with_the_model(tmp_path: Path) -> None:
    key = pem_pair(tmp_path)
    done = run(*FAST, MODEL, tmp_path / "m.onnx", "--sign", key, "--bom", tmp_path / "bom.json")
    assert (done.returncode, done.stderr) == (0, "")
    (tmp_path / "bom.json").write_text("{}")
    tested = run("-t", tmp_path / "m.onnx", "--verify", tmp_path / "key.pub")
    assert (tested.returncode, tested.stderr.count("\n")) == (1, 1)
    assert "bom.json: is not the file" in tested.stderr


def test_places_that_cannot_be(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"bom .*bom\.txt: is no \.json file"):
        onnxzip.compress(MODEL, tmp_path / "m.onnx", bom=tmp_path / "bom.txt")
    with pytest.raises(UsageError, match="bom needs a file"):
        onnxzip.compress(MODEL, bom=tmp_path / "bom.json")
    out = tmp_path / "m.json"
    with pytest.raises(UsageError, match="would be written twice"):
        onnxzip.compress(MODEL, out, bom=out)
    done = run(*FAST, MODEL, tmp_path / "m.onnx", "--bom", out, "--report", out)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert not out.exists()
