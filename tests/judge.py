"""An independent judge of compressed models: onnx and onnxruntime only, none of onnxzip's own checks.

`judge(...)` asserts everything PRODUCT.md promises of a compressed file next to its original.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from numpy.typing import NDArray

from onnxzip.records.check import Check
from onnxzip.report.record import Report

Arrays = Mapping[str, NDArray[Any]]
Feeds = Mapping[str, NDArray[Any]]

LEVELS = {
    "off": ort.GraphOptimizationLevel.ORT_DISABLE_ALL,
    "basic": ort.GraphOptimizationLevel.ORT_ENABLE_BASIC,
    "extended": ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED,
    "all": ort.GraphOptimizationLevel.ORT_ENABLE_ALL,
}
EXACT = 1e-5
EXACT_OF_HALVES = 1e-4
"""A few outputs may be rounded the other way, which is 5e-4 of each."""


def open_session(path: Path, level: str = "all", saved: Path | None = None) -> ort.InferenceSession:
    """Open a model in stock onnxruntime, on one CPU thread and without its messages."""
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    options.graph_optimization_level = LEVELS[level]
    if saved is not None:
        options.optimized_model_filepath = str(saved)
    return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def run(session: ort.InferenceSession, feeds: Feeds) -> dict[str, NDArray[Any]]:
    """Run a model once; sequences become one array per element."""
    names = [output.name for output in session.get_outputs()]
    results: dict[str, NDArray[Any]] = {}
    for name, value in zip(names, session.run(names, dict(feeds)), strict=True):
        parts = value if isinstance(value, list) else [value]
        results.update({f"{name}[{i}]": np.asarray(part) for i, part in enumerate(parts)})
    return results


def drift_on_cpu(checks: Iterable[Check]) -> Check:
    """Return the drift on the CPU; where onnxruntime has accelerators there are theirs as well."""
    (found,) = [check for check in checks if (check.kind, check.provider) == ("drift", "CPU")]
    return found


def relative_drift(pairs: Iterable[tuple[Arrays, Arrays]]) -> float:
    """Return the worst output's |y - y'| / |y| over all runs, or the share of differing answers."""
    errors: Counter[str] = Counter()
    norms: Counter[str] = Counter()
    for before, after in pairs:
        assert set(before) == set(after)
        for name, y in before.items():
            z = after[name]
            assert y.shape == z.shape, name
            assert y.dtype == z.dtype, name
            if y.dtype.kind == "f":
                finite = np.isfinite(y.astype(np.float64))
                assert np.array_equal(finite, np.isfinite(z.astype(np.float64))), name
                a, b = y[finite].astype(np.float64), z[finite].astype(np.float64)
                errors[name] += float(((a - b) ** 2).sum())  # type: ignore[assignment]
                norms[name] += float((a**2).sum())  # type: ignore[assignment]
            else:
                errors[name] += int(np.count_nonzero(y != z))
                norms[name] += y.size
    floats = {n for n in errors if before[n].dtype.kind == "f"}
    ratios = {n: errors[n] / norms[n] if norms[n] else float(errors[n] > 0) for n in errors}
    return max(r**0.5 if n in floats else r for n, r in ratios.items())


def judge(
    before: Path,
    after: Path,
    report: Report,
    feeds: list[Feeds],
    *,
    strict: bool = True,
    keeps_names: bool = False,
) -> float:
    """Assert that `after` is an honest compressed form of `before`.

    Args:
        before: the original's path.
        after: the compressed model's path.
        report: what onnxzip says about it.
        feeds: what to run both on.
        strict: whether onnx.checker accepts the original with shape inference.
        keeps_names: whether names of nodes and doc strings were to be kept.

    Returns:
        The relative drift on `feeds`.
    """
    old, new = onnx.load(before), onnx.load(after)
    if strict:
        onnx.checker.check_model(after, full_check=True)
    judge_interface(old, new)
    judge_opsets(old, new, report)
    judge_texts(old, new, keeps_names)
    judge_report(before, after, report)
    judge_optimised(before, after, folded=bool(report.rewrites))
    return judge_outputs(before, after, feeds)


def judge_interface(old: onnx.ModelProto, new: onnx.ModelProto) -> None:
    """Inputs, outputs: names, order, types, shapes, doc strings, byte for byte."""
    given = {t.name for t in old.graph.initializer} if old.ir_version < 4 else set()
    wanted = [v for v in old.graph.input if v.name not in given]
    assert [v.SerializeToString() for v in new.graph.input] == [v.SerializeToString() for v in wanted]
    outputs = [v.SerializeToString() for v in old.graph.output]
    assert [v.SerializeToString() for v in new.graph.output] == outputs


def judge_opsets(old: onnx.ModelProto, new: onnx.ModelProto, report: Report) -> None:
    """Every domain at the user's version; ai.onnx below 11 may be raised when the report says so."""
    was, now = ({o.domain: o.version for o in m.opset_import} for m in (old, new))
    was = {
        domain.removesuffix("ai.onnx") if domain == "ai.onnx" else domain: v for domain, v in was.items()
    }
    now = {
        domain.removesuffix("ai.onnx") if domain == "ai.onnx" else domain: v for domain, v in now.items()
    }
    if was.get("", 99) < 11:
        assert now[""] >= 11
        (note,) = [r for r in report.rewrites if r.pass_name == "opset"]
        assert str(was.pop("")) in note.description
        assert str(now.pop("")) in note.description
    assert now == was
    assert new.ir_version >= old.ir_version


def judge_texts(old: onnx.ModelProto, new: onnx.ModelProto, keeps_names: bool) -> None:
    """Metadata, versions, nodes of other domains, functions; doc strings and names when asked for."""
    was, now = ({e.key: e.value for e in m.metadata_props} for m in (old, new))
    assert {**was, "onnxzip": now.get("onnxzip")} == now
    for name in ("producer_name", "producer_version", "domain", "model_version"):
        assert getattr(old, name) == getattr(new, name), name
    assert _foreign(old, keeps_names) == _foreign(new, keeps_names)
    assert [(f.domain, f.name) for f in old.functions] == [(f.domain, f.name) for f in new.functions]
    if not keeps_names:
        return
    assert (old.graph.name, old.graph.doc_string) == (new.graph.name, new.graph.doc_string)
    assert old.doc_string == new.doc_string
    docs = Counter(n.doc_string for n in old.graph.node if n.doc_string)
    assert not Counter(n.doc_string for n in new.graph.node if n.doc_string) - docs
    assert {n.name for n in new.graph.node} - {""} <= {n.name for n in old.graph.node}


def _foreign(model: onnx.ModelProto, keeps_names: bool) -> list[tuple[object, ...]]:
    """What identifies each node of another domain; calls of model-local functions may get an input."""
    own = {f.domain for f in model.functions} | {"", "ai.onnx"}
    return [
        (n.op_type, n.name * keeps_names, *(a.SerializeToString() for a in n.attribute))
        for n in model.graph.node
        if n.domain not in own
    ]


def judge_report(before: Path, after: Path, report: Report) -> None:
    """The report's figures are those of the files, and none of its checks failed."""
    assert report.bytes_after == after.stat().st_size < report.bytes_before
    assert report.output_sha256 == hashlib.sha256(after.read_bytes()).hexdigest()
    assert report.source_sha256 == hashlib.sha256(before.read_bytes()).hexdigest()
    assert {check.kind for check in report.checks} - {"opinion"} == {"structure", "exact", "drift"}
    assert not any(check.failed for check in report.checks)
    assert report.layers
    small = (report.small_before, report.small_after)
    rest = (report.rest_before, report.rest_after)
    shares = [small, rest, *((layer.bytes_before, layer.bytes_after) for layer in report.layers)]
    assert min(map(min, shares)) >= 0
    totals = tuple(map(sum, zip(*shares, strict=True)))
    assert totals == (report.bytes_before, report.bytes_after)


def judge_optimised(before: Path, after: Path, folded: bool) -> None:
    """After BASIC optimisation no operator is left that the original does not have.

    Where nodes were folded away, onnxruntime may fuse what remains into a Gemm.
    """
    old, new = (basic_operators(path) for path in (before, after))
    extra = new - old
    assert not extra or (folded and set(extra) <= {":Gemm"} and new.total() < old.total()), extra


def basic_operators(path: Path) -> Counter[str]:
    """Count the operators that a model has left after onnxruntime's BASIC optimisation."""
    with tempfile.TemporaryDirectory() as folder:
        saved = Path(folder) / "basic.onnx"
        open_session(path, "basic", saved)
        graphs = [onnx.load(saved, load_external_data=False).graph]
    found: Counter[str] = Counter()
    while graphs:
        for node in graphs.pop().node:
            found[f"{node.domain}:{node.op_type}"] += 1
            graphs.extend(a.g for a in node.attribute if a.HasField("g"))
    return found


def judge_outputs(before: Path, after: Path, feeds: list[Feeds]) -> float:
    """Load at every level; the levels agree as the original's do; return the drift at the highest."""
    old, new = ({level: run_all(path, level, feeds) for level in LEVELS} for path in (before, after))
    halves = any(array.dtype == np.float16 for run in old["off"] for array in run.values())
    exact = EXACT_OF_HALVES if halves else EXACT
    for level in LEVELS:
        apart = relative_drift(zip(new["off"], new[level], strict=True))
        own = relative_drift(zip(old["off"], old[level], strict=True))
        assert apart <= exact + 3 * own, f"optimisation off and {level} are {apart} apart, {own} before"
    return relative_drift(zip(old["all"], new["all"], strict=True))


def run_all(path: Path, level: str, feeds: list[Feeds]) -> list[dict[str, NDArray[Any]]]:
    """Run a model on all feeds at one optimisation level."""
    session = open_session(path, level)
    return [run(session, f) for f in feeds]
