"""The bill of materials of a compressed model: CycloneDX, through its Python library.

The library has no model cards; what was measured is put into the finished document, whose schema
(CycloneDX 1.6, "modelCard") the library's own validator holds it to in the tests.
"""

from __future__ import annotations

import json
from typing import Any

from onnxzip.records.check import Check
from onnxzip.report.record import Report
from onnxzip.trust.delivery import needing

_LIBRARY = "cyclonedx-python-lib"


def check_installed() -> None:
    """Raise UsageError where the library is not installed, before any work is done."""
    with needing("bom", _LIBRARY, "bom"):
        import cyclonedx.model  # noqa: F401


def bom_of(report: Report, name: str) -> str:
    """Return the bill of materials of a model that was compressed, as JSON.

    Args:
        report: what was done.
        name: the model's file.
    """
    with needing("bom", _LIBRARY, "bom"):
        from cyclonedx.model import HashAlgorithm, HashType, Property
        from cyclonedx.model.bom import Bom
        from cyclonedx.model.component import Component, ComponentType, Pedigree
        from cyclonedx.output.json import JsonV1Dot6

    def model(title: str, sha256: str, **more: Any) -> Any:
        hashes = [HashType(alg=HashAlgorithm.SHA_256, content=sha256)] if sha256 else []
        kind = ComponentType.MACHINE_LEARNING_MODEL
        return Component(name=title, type=kind, hashes=hashes, bom_ref=sha256 or title, **more)

    original = model(report.source, report.source_sha256)
    pedigree = Pedigree(ancestors=[original], notes=f"compressed by onnxzip: {report.command}")
    facts = [Property(name=f"onnxzip:{key}", value=value) for key, value in _facts(report).items()]
    made = model(name, report.output_sha256, properties=facts, pedigree=pedigree)
    bom = Bom()
    bom.metadata.component = made
    for package, version in report.versions.items():
        kind = ComponentType.APPLICATION if package == "onnxzip" else ComponentType.LIBRARY
        bom.metadata.tools.components.add(Component(name=package, version=version, type=kind))
    document = json.loads(JsonV1Dot6(bom).output_as_string())
    document["metadata"]["component"]["modelCard"] = {
        "quantitativeAnalysis": {
            "performanceMetrics": [_metric(check) for check in report.checks if check.kind == "drift"]
        }
    }
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def _facts(report: Report) -> dict[str, str]:
    """Return what has no field of its own in a bill of materials."""
    sizes = {"bytes before": report.bytes_before, "bytes after": report.bytes_after}
    settings = {f"setting:{key}": value for key, value in report.settings.items()}
    checks = {f"check:{c.kind}:{c.provider}:{c.metric}": _verdict(c) for c in report.checks}
    return {key: str(value) for key, value in {**sizes, **settings, **checks}.items()}


def _verdict(check: Check) -> str:
    word = "not proven" if check.unproven else "passed" if check.passed else "failed"
    return f"{check.value:g}, limit {check.limit:g}, {check.n_samples} samples: {word}"


def _metric(check: Check) -> dict[str, Any]:
    """Return a measured loss as a model card has it."""
    found: dict[str, Any] = {
        "type": check.metric,
        "value": f"{check.value:g}",
        "slice": f"{check.provider}, {check.n_samples} samples, {check.note or 'inputs of the user'}",
    }
    if check.interval is not None:
        low, high = check.interval
        found["confidenceInterval"] = {"lowerBound": f"{low:g}", "upperBound": f"{high:g}"}
    return found
