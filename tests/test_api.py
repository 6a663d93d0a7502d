"""The Python interface: its signatures, what goes through it end to end, what it refuses."""

from __future__ import annotations

import logging
import subprocess
import sys
import types
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from os import PathLike
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import numpy as np
import onnx
import pytest

import onnxzip
from onnxzip import graph
from onnxzip.errors import CalibrationError, InputError, ModelError, OutputError, UsageError
from onnxzip.inputs.given.arrays import ArrayLike
from onnxzip.inputs.given.from_python import CalibrationSource
from onnxzip.options import USED_BY_VERIFY, Options, record, typed
from onnxzip.records.aliases import Scalar
from onnxzip.report.json import export as to_json
from onnxzip.runtime.outputs import Outputs
from tests.cases import CASES
from tests.inputs.given.test_from_python import Loader, Tensor
from tests.test_models import MODELS

NAMES: dict[str, Any] = {
    "ArrayLike": ArrayLike,
    "CalibrationSource": CalibrationSource,
    "Outputs": Outputs,
}
FAST: dict[str, Any] = {"passes": "scalar", "level": 1}


def worst(reference: Mapping[str, np.ndarray], outputs: Mapping[str, np.ndarray]) -> float:
    return max(float(np.abs(reference[name] - outputs[name]).max()) for name in reference)


def members(hint: Any) -> set[Any]:
    if get_origin(hint) in (Union, types.UnionType):
        return {member for argument in get_args(hint) for member in members(argument)}
    return {hint}


def test_settings_mirror_options() -> None:
    """`Settings` takes what a field holds, and what is brought to it."""
    wider: dict[Any, Any] = {
        Path: str | PathLike[str],
        float: typed.Number,
        int: typed.WholeNumber,
        tuple[str, ...]: str | Sequence[str],
        record.PassSettings: Mapping[str, Mapping[str, Scalar | Sequence[Scalar]]],
    }
    fields = get_type_hints(Options, None, NAMES)
    settings = get_type_hints(typed.Settings, None, NAMES)
    assert sorted(settings) == sorted(fields)
    for name, hint in fields.items():
        wanted = {m for member in members(hint) for m in members(wider.get(member, member))}
        texts = ("target_size", "load_memory", "max_memory", "cache_size")
        sizes = {size: {str} for size in texts}
        extra = {"labels": {Sequence[int]}, **sizes}.get(name, set())
        assert members(settings[name]) == wanted | extra, name
    assert settings["objective"] == Literal["size", "speed"]
    assert set(get_type_hints(typed.VerifySettings, None, NAMES)) == USED_BY_VERIFY
    assert all(name in (onnxzip.compress.__doc__ or "") for name in settings)


def test_import_is_quick() -> None:
    code = """if True:
        import sys, onnxzip
        heavy = {"onnx", "onnxruntime", "scipy", "rich", "joblib", "onnxzip.pipeline", "onnxzip.listing"}
        print(sorted(heavy & set(sys.modules)))"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_version() -> None:
    assert onnxzip.__version__ == version("onnxzip")


# Sources and reports


def test_what_holds_a_model_is_a_model(tmp_path: Path) -> None:
    proto = CASES["two_layer_perceptron"].build()
    program = types.SimpleNamespace(model_proto=proto)
    found = onnxzip.compress(program, **FAST)
    wanted = onnxzip.compress(proto, **FAST)
    assert found.model == wanted.model
    assert found.report.source_sha256 == wanted.report.source_sha256
    assert all(check.passed for check in onnxzip.verify(found.model, program))
    path = tmp_path / "m.onnx"
    onnx.save(proto, path)
    assert graph.read_model(str(path)).source == str(path)
    with pytest.raises(ModelError, match="expected a path"):
        onnxzip.inspect(types.SimpleNamespace(model_proto=3))


def test_a_report_tells_what_was_tried_and_what_repeats_it(tmp_path: Path) -> None:
    path = CASES["two_layer_perceptron"].write(tmp_path)
    report = onnxzip.compress(path, **FAST).report
    (chosen,) = (trial for trial in report.trials if trial.is_chosen)
    (drift,) = (check for check in report.checks if check.kind == "drift")
    assert (chosen.stage, chosen.n_bytes, chosen.loss) == ("proved", report.bytes_after, drift.value)
    tried = [trial for trial in report.trials if trial.stage == "planned"]
    assert report.bytes_after in {trial.n_bytes for trial in tried if trial.passed}
    assert len(report.examples) == 3
    call = f"onnxzip.compress({str(path)!r}, passes='scalar', level=1)"
    assert report.command == f"import onnxzip\n{call}"
    exec(report.command)  # as it stands there


@pytest.mark.parametrize("suffix", [".json", ".md", ".HTML"])
def test_reports_are_written(tmp_path: Path, suffix: str) -> None:
    original = CASES["two_layer_perceptron"].write(tmp_path)
    result = onnxzip.compress(original, tmp_path / "small.onnx", **FAST)
    path = tmp_path / f"report{suffix}"
    path.write_text("old")
    result.report.write(path)
    again = path.read_bytes()
    result.report.write(str(path))
    assert path.read_bytes() == again != b"old"
    checks = onnxzip.verify(tmp_path / "small.onnx", original, report=path)
    text = path.read_text("utf-8")
    assert "onnxzip.verify(" in text
    if suffix == ".json":
        found = onnxzip.read_report(path)
        assert (found.task, found.checks) == ("test", checks)
        assert found.output_sha256 == result.report.output_sha256
        assert found.source_sha256 == result.report.source_sha256
        assert [layer.bytes_after for layer in found.layers] == [
            layer.bytes_after for layer in result.report.layers
        ]
        assert (found.rest_after, found.bytes_after) == (
            *(result.report.rest_after, result.report.bytes_after),
        )
    with pytest.raises(UsageError, match=r"is not a .html or a .json or a .md file"):
        result.report.write(tmp_path / "report.txt")
    with pytest.raises(UsageError, match=r"is not a .html or a .json or a .md file"):
        onnxzip.verify(tmp_path / "small.onnx", report=tmp_path / "report")
    with pytest.raises(OutputError, match="removed or moved its folder"):
        result.report.write(tmp_path / "no" / f"report{suffix}")
    assert sorted(p.suffix for p in tmp_path.iterdir()) == sorted([suffix, ".onnx", ".onnx"])


def test_a_test_without_the_original_has_a_report_too(tmp_path: Path) -> None:
    model = onnxzip.compress(CASES["two_layer_perceptron"].build(), **FAST).model
    onnxzip.verify(model, report=tmp_path / "report.json")
    found = onnxzip.read_report(tmp_path / "report.json")
    assert (found.source_sha256, found.examples, found.load_seconds) == ("", (), None)
    assert found.bytes_after == len(model.SerializeToString())
    assert found.layers


def test_report_comes_back(tmp_path: Path) -> None:
    report = onnxzip.compress(CASES["two_layer_perceptron"].build(), **FAST).report
    path = tmp_path / "r.json"
    path.write_text(to_json(report), "utf-8")
    assert onnxzip.read_report(path) == onnxzip.read_report(str(path)) == report
    assert onnxzip.read_report(to_json(report)) == report
    path.write_bytes(b"\xff\xfe")
    for source in (path, tmp_path / "absent", tmp_path):
        with pytest.raises(InputError, match="cannot be read") as caught:
            onnxzip.read_report(source)
        assert str(caught.value).startswith(str(source))
    path.write_text("[]")
    with pytest.raises(InputError, match=r"r\.json: report: not a report"):
        onnxzip.read_report(path)
    for wrong in (3, None, "a\0b"):
        with pytest.raises(UsageError, match=r"source .* is not a path"):
            onnxzip.read_report(wrong)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="not a report"):
        onnxzip.read_report('{"a":' * 100_000)


# Settings


def test_a_callable_is_a_metric_all_the_way() -> None:
    source = CASES["two_layer_perceptron"].build()
    result = onnxzip.compress(source, metric=worst, tolerance=np.float32(0.5), **FAST)
    (drift,) = (check for check in result.report.checks if check.kind == "drift")
    assert (drift.metric, drift.limit, drift.passed) == (f"{__name__}:worst", 0.5, True)
    assert result.report.settings["metric"] == f"{__name__}:worst"
    assert "worst" in to_json(result.report)
    (again, *_) = (
        check
        for check in onnxzip.verify(result.model, source, metric=worst, tolerance=1e-9)
        if check.kind == "drift"
    )
    assert (again.metric, again.passed) == (f"{__name__}:worst", False)
    with pytest.raises(UsageError, match="no default limit"):
        onnxzip.compress(source, metric=worst)
    with pytest.raises(CalibrationError, match=r"metric .*: failed: TypeError"):
        onnxzip.compress(source, metric=lambda a: 0.0, tolerance=1, **FAST)  # type: ignore[arg-type]


def test_a_loader_of_labelled_batches_is_data_and_labels() -> None:
    with np.load(MODELS / "digits_calibration.npz") as archive:
        data = archive["image"][:64]
    labels = np.arange(64) % 10
    loader = Loader(*((Tensor(data[i : i + 10]), Tensor(labels[i : i + 10])) for i in range(0, 64, 10)))
    source = MODELS / "digits_cnn.onnx"
    given: dict[str, Any] = {"metric": "top1", "tolerance": 0.5, **FAST}
    found = onnxzip.compress(source, calibration=loader, **given).report
    wanted = onnxzip.compress(
        source, calibration=np.split(data, range(10, 64, 10)), labels=labels, **given
    ).report
    assert found.output_sha256 == wanted.output_sha256
    notes = [check.note for check in found.checks if check.kind == "drift"]
    assert "accuracy" in notes[0]
    assert notes == [check.note for check in wanted.checks if check.kind == "drift"]
    plain = onnxzip.compress(source, calibration=loader, **FAST).report  # the y are nobody's business
    assert all("accuracy" not in check.note for check in plain.checks)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"level": 3}, "level has no meaning for a test"),
        ({"passes": "dct"}, "passes has no meaning for a test"),
        ({"target_size": "4MB"}, "target_size has no meaning for a test"),
        ({"overwrite": True}, "overwrite has no meaning for a test"),
        ({"metric": "psnr"}, "metric needs against"),
        ({"tolerance": 0.1}, "tolerance needs against"),
        ({"providers": "CPU"}, "providers needs against"),
        ({"seeds": 3}, "no setting 'seeds'; did you mean seed?"),
        ({"seed": "x"}, "seed 'x' is not a whole number"),
        ({"zzz": 3}, "no setting 'zzz'; there are calibration, "),
    ],
    ids=str,
)
def test_verify_refuses_what_it_does_not_use(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        onnxzip.verify("absent.onnx", **settings)
    with pytest.raises(ModelError):
        onnxzip.verify("absent.onnx", seed=3, tolerance=None)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"nope": {"a": 1}}, "there is no pass 'nope'"),
        ({"scalar": {"nope": 1}}, "the pass scalar has no setting 'nope'"),
        ({"dct": {"block": "8"}}, "the setting dct.block '8' is not of type int"),
        ({"dct": {"block": 0}}, "settings of the pass dct: block 0 is not from 1 to 1024"),
        ({"wavelet": {"multiples": (0.5, 200.0)}}, "multiples 200 is not from 0 to 100"),
        ({"wavelet": {"tile": 1}}, "tile 1 is not from 2 to 1024"),
        ({"lowrank": {"rungs": 0}}, "rungs 0 is not from 1 to 64"),
        ({"codebook": {"seed": -1}}, "seed -1 is not from 0"),
        ({"dct": {"block": True}}, "the setting dct.block True is not of type int"),
        ({"wavelet": {"max_levels": 1.5}}, "there is no|no setting|is not of type int"),
    ],
    ids=str,
)
def test_settings_of_passes_are_checked_before_anything_is_read(
    settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        onnxzip.compress("absent.onnx", pass_settings=settings)


def test_other_arguments_of_the_wrong_type() -> None:
    with pytest.raises(UsageError, match="progress of type int is not a callable"):
        onnxzip.compress("absent.onnx", progress=3)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="output 3 is not a path"):
        onnxzip.compress("absent.onnx", 3)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="overwrite 1 is not True or False"):
        onnxzip.decompress("absent.onnx", overwrite=1)  # type: ignore[arg-type]


class ForeignPath:
    """A path as no pathlib makes one."""

    def __init__(self, value: object) -> None:
        self._value = value

    def __fspath__(self) -> object:
        if isinstance(self._value, Exception):
            raise self._value
        return self._value


class BrokenProgram:
    """What an exporter returned that failed."""

    @property
    def model_proto(self) -> object:
        raise RuntimeError("export failed")


@pytest.mark.parametrize(
    "path",
    [ForeignPath(b"in.onnx"), ForeignPath(RuntimeError("x")), "a\0b"],
    ids=["bytes", "raises", "NUL"],
)
def test_foreign_paths_are_refused(path: Any) -> None:
    model = CASES["two_layer_perceptron"].build()
    for call in (onnxzip.compress, onnxzip.verify, onnxzip.inspect, onnxzip.decompress):
        with pytest.raises(UsageError, match=r"source .* is not a path"):
            call(path)
    for write in (onnxzip.compress, onnxzip.decompress):
        with pytest.raises(UsageError, match=r"output .* is not a path"):
            write(model, path)


def test_a_program_that_holds_no_model_is_refused() -> None:
    with pytest.raises(ModelError, match=r"BrokenProgram.*export failed"):
        onnxzip.compress(BrokenProgram())  # type: ignore[arg-type]


# What a run says of itself


def test_progress_and_logging(
    caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    stages: list[tuple[str, float]] = []
    with caplog.at_level(logging.DEBUG, "onnxzip"):
        onnxzip.compress(
            CASES["two_layer_perceptron"].build(),
            progress=lambda stage, fraction: stages.append((stage, fraction)),
            keep="w1",
            **FAST,
        )
    assert stages[0] == ("reading", 0.0)
    assert stages[-1] == ("done", 1.0)
    assert [fraction for _, fraction in stages] == sorted(fraction for _, fraction in stages)
    assert all(0 <= fraction <= 1 for _, fraction in stages)
    said = [(entry.name, entry.levelname, entry.getMessage()) for entry in caplog.records]
    infos = [text.split()[0] for _, level, text in said if level == "INFO"]
    kinds = list(dict.fromkeys(infos))
    assert kinds == ["read", "examined", "proposed:", "trial", "emitted:", "structure", "exact", "drift"]
    assert ("onnxzip.pipeline", "DEBUG", "keep left w1: kept on request") in said
    assert all(name.startswith("onnxzip.") for name, _, _ in said)
    assert capfd.readouterr() == ("", "")
    assert any(isinstance(h, logging.NullHandler) for h in logging.getLogger("onnxzip").handlers)


def test_what_is_not_proven_or_odd_is_logged_as_warnings(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("WARNING", "onnxzip"):
        report = onnxzip.compress(
            CASES["two_layer_perceptron"].build(),
            calibration=np.ones((64, 64), np.float32),
            passes=("scalar",),
            level=1,
        ).report
    told = [record.getMessage() for record in caplog.records if record.name == "onnxzip.api"]
    assert report.warnings
    for finding in report.warnings:
        assert any(finding.text in line for line in told)


def test_a_result_is_its_report_in_a_notebook() -> None:
    result = onnxzip.compress(CASES["two_layer_perceptron"].build(), **FAST)
    assert result._repr_html_() == result.report._repr_html_()
