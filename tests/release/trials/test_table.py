"""What the checks on other runtimes do without a network: inputs, scripts' answers, verdicts, tables."""

from __future__ import annotations

import base64
import json
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.release import web
from tests.release.trials import answers
from tests.release.trials.answers import Answers, Pair
from tests.release.trials.compressed import MODELS, N_SAMPLES, _feeds
from tests.release.trials.table import findings_of, row

SCRIPTS = Path(__file__).with_name("scripts")


def answered(*numbers: float, n_bytes: int = 0, peak_mb: float = 50.0) -> Answers:
    facts = {"version": "1.2", "load_ms": 10.0, "fetch_ms": 1.0, "first_ms": 2.0, "run_ms": 0.5}
    sizes = {"n_bytes": n_bytes, "heap_mb": 3.0, "wasm_mb": 17.0} if n_bytes else {}
    return Answers("", ((np.array(numbers),),), peak_mb, {**facts, **sizes})


def pair(plain: Answers, small: Answers, limit: float = 1e-5) -> Pair:
    return Pair("a.6", plain, small, (1000, 100), limit)


BEST = pair(answered(1), answered(1))


@pytest.mark.parametrize(
    ("plain", "small", "verdict"),
    [
        (answered(1, 2), answered(1, 2), "right"),
        (answered(1, 2), answered(1, 2.00001), "right"),
        (answered(1, 2), answered(1, 2.0001), "wrong"),
        (answered(1, 2), answered(1, np.nan), "wrong"),
        (answered(1, 2), answered(1), "wrong"),
        (answered(1, 2), Answers("no such operator"), "refused"),
        (Answers("no GRU"), Answers("no GRU"), "not for it"),
    ],
)
def test_verdict(plain: Answers, small: Answers, verdict: str) -> None:
    found = pair(plain, small)
    assert found.verdict == verdict
    assert bool(findings_of("tract", [found, BEST])) == (verdict in ("wrong", "refused"))


def test_no_plain_file_is_a_finding() -> None:
    """A script that cannot work any more must not look like a runtime that is too small."""
    broken = pair(Answers("no module"), Answers("no module"))
    assert findings_of("tract", [broken, broken]) == ["tract: takes none of the plain files: no module"]


def test_row() -> None:
    good = pair(answered(1, n_bytes=900), answered(1, n_bytes=450, peak_mb=70.0))
    bad = pair(answered(1, n_bytes=900), Answers("no such operator"))
    wanted = "| slim | 1.2 | 1 | 0 | 1 | 0 | 0 | 1x | 1x | 20 | 0.50 of 0.10 |"
    assert row("slim", [good, bad]) == wanted
    assert findings_of("slim", [good, bad]) == ["slim: a.6: refused: no such operator"]
    assert row("slim", [bad]) == "| slim | - | 0 | 0 | 1 | 0 | - | - | - | - | - |"


def test_row_of_a_page() -> None:
    cells = web.row(pair(answered(1, n_bytes=9), answered(1, n_bytes=9)), "wasm").split(" | ")
    assert cells[:4] == ["| a.6", "wasm", "right", "1,000 -> 100"]
    assert cells[4:] == ["11 -> 11", "13 -> 13", "18 -> 18", "3 -> 3", "17 -> 17 |"]
    refused = web.row(pair(answered(1, n_bytes=9), Answers("no kernel")), "webgpu").split(" | ")
    assert refused[2:5] == ["no kernel", "1,000 -> 100", "11 -> -"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("plain.onnx", "small.onnx"):
        (tmp_path / name).write_bytes(name.encode())
    feeds = [{"x": {"type": "float32", "dims": [2, 1], "data": [3.0, 4.0]}}]
    (tmp_path / "feeds.json").write_text(json.dumps(feeds))
    return tmp_path


def test_script(folder: Path) -> None:
    """A script is run in a process of its own, which hands back what kit.py writes."""
    script = folder / "script.py"
    script.write_text(
        f"import sys; sys.path.insert(0, {str(SCRIPTS)!r}); from kit import main\n"
        "def load(model, feeds, told):\n"
        "    return lambda feeds: [feeds['x'] * int(told[0])], {'n_bytes': 7}\n"
        "main(load, '9')\n"
    )
    found = answers.ask([sys.executable, script], folder / "small.onnx", ["5"])
    assert found.finding == ""
    assert found.outputs[0][0].tolist() == [[15.0], [20.0]]
    assert found.facts is not None
    assert (found.facts["version"], found.facts["n_bytes"]) == ("9", 7)
    assert found.peak_mb > 5


def test_runtime_that_refuses(folder: Path) -> None:
    script = folder / "script.py"
    script.write_text(
        f"import sys; sys.path.insert(0, {str(SCRIPTS)!r}); from kit import main\n"
        "def load(model, feeds, told):\n"
        "    raise RuntimeError('no\\n operator')\n"
        "main(load, '9')\n"
    )
    found = answers.ask([sys.executable, script], folder / "small.onnx", [])
    assert found.finding == "no operator"


@pytest.mark.parametrize(
    ("code", "finding"),
    [
        ("raise ValueError('no operator')", "ValueError: no operator"),
        ("import os; os.kill(os.getpid(), 8)", "SIGFPE: "),
        ("", "exit code 0"),
    ],
)
def test_script_that_fails(code: str, finding: str, folder: Path) -> None:
    found = answers.ask([sys.executable, "-c", code], folder / "small.onnx", [])
    assert found.finding == finding
    assert found.facts is None


def test_same_bytes_once(folder: Path) -> None:
    """Levels that make the same file are not measured twice."""
    asked: list[str] = []

    def answers_of(file: Path) -> Answers:
        asked.append(file.name)
        return answers.read({"outputs": [[{"dims": [1], "data": base64.b64encode(bytes(8))}]]}, 1.0)

    pairs = list(answers.ask_pairs([folder, folder], answers_of, 0.0))
    assert asked == ["plain.onnx", "small.onnx"]
    assert [found.n_bytes for found in pairs] == [(10, 10)] * 2


def test_feeds() -> None:
    for n_samples in N_SAMPLES:
        ((name, feed),) = _feeds(MODELS / "digits_cnn.onnx", n_samples)
        assert (name, feed["type"]) == ("image", "float32")
        assert feed["dims"][0] == n_samples
        assert len(feed["data"]) == np.prod(feed["dims"])
