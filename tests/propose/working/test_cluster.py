"""A Dask cluster of two processes on this machine: same results, whatever becomes of its workers."""

from __future__ import annotations

import logging
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

import onnxzip
from onnxzip.codec.level import level
from onnxzip.disk.cache.content import digest
from onnxzip.errors import ClusterError, ModelError, UsageError
from onnxzip.graph import read_model
from onnxzip.options import Options
from onnxzip.propose.offers import collect_offers
from onnxzip.propose.registry import make_passes
from onnxzip.propose.weights import find_weights
from onnxzip.propose.working import cluster as working
from onnxzip.propose.working.cluster import open_cluster
from tests.cases import CASES
from tests.propose.working import tasks

distributed = pytest.importorskip("distributed", reason="needs onnxzip[cluster]")
dask = pytest.importorskip("dask", reason="needs onnxzip[cluster]")

MODEL = CASES["residual_network"].build()


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """The address of a scheduler with two workers, whose tasks may be killed once."""
    with dask.config.set({"distributed.scheduler.allowed-failures": 1}):
        given = {"n_workers": 2, "threads_per_worker": 1, "processes": True, "dashboard_address": ":0"}
        with distributed.LocalCluster(**given, silence_logs=60) as cluster:
            yield cluster.scheduler_address


@pytest.fixture
def empty() -> Iterator[Any]:
    """A scheduler without workers."""
    with distributed.LocalCluster(
        n_workers=0, processes=True, dashboard_address=":0", silence_logs=60
    ) as cluster:
        yield cluster


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is waited for does not come."""
    for name, seconds in (("_CONNECT_S", 0.5), ("_PATIENCE_S", 0.5), ("_LOOK_S", 0.2)):
        monkeypatch.setattr(working, name, seconds)


def compress(**settings: Any) -> tuple[bytes, onnxzip.Report]:
    images = np.random.default_rng(0).standard_normal((96, 16, 10, 12), dtype=np.float32)
    result = onnxzip.compress(MODEL, calibration=images, passes="scalar", **settings)
    assert result.model is not None
    return result.model.SerializeToString(deterministic=True), result.report


def layer_tasks() -> tuple[list[tuple[Any, ...]], list[str], list[int]]:
    """Return what is asked of workers for a model: arguments, names, and sizes of its weights."""
    layers = find_weights(read_model(MODEL), ()).layers
    passes, _ = make_passes(Options(passes=("scalar", "dct")))
    codecs = level(6).codecs(layers)
    given = [(layer, passes, codecs[layer.name]) for layer in layers]
    return given, [layer.name for layer in layers], [layer.weight.size for layer in layers]


def test_a_cluster_makes_the_same_file(address: str, tmp_path: Path) -> None:
    """And what its workers have found is looked up by a run without one."""
    told: list[str] = []
    here, expected = compress()
    there, report = compress(cluster=address, cache=tmp_path, progress=lambda now, _: told.append(now))
    assert there == here
    assert report.warnings == expected.warnings
    assert [now for now in told if now.startswith("layer ")] == [f"layer {i} of 3" for i in (1, 2, 3)]
    again, report = compress(cache=tmp_path)
    assert again == here
    assert [found.n_recalled for found in report.recalled if "candidates" in found.kind] == [3]


def test_a_worker_that_is_killed_costs_no_result(address: str, tmp_path: Path) -> None:
    given, names, sizes = layer_tasks()
    marked = [(tmp_path / "killed", *arguments) for arguments in given]
    with open_cluster(address) as workers:
        found = sorted(workers.work(tasks.offers_dying_once, marked, names, sizes), key=lambda r: r[0])
    assert (tmp_path / "killed").exists()
    assert [place for place, _, _ in found] == list(range(len(given)))
    assert [digest(offers) for _, offers, _ in found] == [digest(collect_offers(*a)) for a in given]
    assert all(is_own for _, _, is_own in found)


def test_the_largest_weights_are_worked_on_first(address: str) -> None:
    """So that none is begun when all others are done."""
    with open_cluster(address) as workers:
        workers._n_at_once = lambda: 1  # type: ignore[method-assign]
        found = workers.work(tasks.sleep, [(0.0,), (0.1,), (0.05,)], ["a", "b", "c"], [1, 3, 2])
        assert list(found) == [(1, 0.1, True), (2, 0.05, True), (0, 0.0, True)]


@pytest.mark.parametrize(
    ("task", "arguments", "error", "finding"),
    [
        (
            tasks.die,
            (),
            ClusterError,
            "all workers that worked on 'w' ended before they were done; give",
        ),
        (tasks.fail, ("ours",), ModelError, "^w: is odd; mend it$"),
        (
            tasks.fail,
            ("else",),
            ClusterError,
            r"failed on 'w' \(ZeroDivisionError: no such thing\); see",
        ),
    ],
    ids=["dies", "refuses", "fails"],
)
def test_work_that_nobody_can_do_is_told_of(
    task: Callable[..., object], arguments: tuple[object, ...], error: Any, finding: str, address: str
) -> None:
    with open_cluster(address) as workers, pytest.raises(error, match=finding):
        list(workers.work(task, [arguments], ["w"], [1]))


def test_workers_with_other_code_are_refused(address: str) -> None:
    with open_cluster(address) as workers:
        workers._own_code["numpy"] = "0.1"
        with pytest.raises(
            ClusterError, match=r"its worker tcp\S+ has numpy \S+, and here it is 0.1; in"
        ):
            workers.check()
        found = workers.work(tasks.sleep, [(0.0,)], ["w"], [1])  # of a worker that came later
        with pytest.raises(ClusterError, match="a worker that joined it has numpy"):
            list(found)


def test_results_of_other_processors_are_told_of(address: str) -> None:
    with open_cluster(address) as workers:
        workers._own_arithmetic = "abacus"
        found = list(workers.work(tasks.sleep, [(0.0,), (0.0,)], ["v", "w"], [1, 1]))
        assert [is_own for _, _, is_own in found] == [False, False]
        (finding,) = workers.findings
        assert finding.text.startswith(
            f"other processors than this one, of {address}, worked on weights"
        )
        assert "here abacus" in finding.text


@pytest.mark.usefixtures("hasty")
def test_without_workers_one_is_asked_for(empty: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ClusterError, match=r"has no worker; start some with: dask worker tcp://"):
        compress(cluster=empty.scheduler_address)
    monkeypatch.setattr(working.ClusterWorkers, "check", lambda self: None)  # they went away since
    with open_cluster(empty.scheduler_address) as workers:
        found = workers.work(tasks.sleep, [(0.0,)], ["w"], [1])
        with pytest.raises(ClusterError, match="no worker for 0 s while there was work; start one"):
            list(found)
        monkeypatch.setattr(working, "_PATIENCE_S", 60.0)
        threading.Timer(0.3, empty.close).start()
        with pytest.raises(ClusterError, match="was lost while weights were worked on; start again"):
            list(workers.work(tasks.sleep, [(0.0,)], ["w"], [1]))


class CutOff:
    """A client whose scheduler is cut off, or lost, or has lost a worker."""

    def __init__(self, answer: Callable[[], object]) -> None:
        self.answer = answer

    def wait_for_workers(self, n_workers: int, timeout: float) -> None:
        """There is one."""

    def run(self, *_: object, **__: object) -> object:
        return self.answer()

    def nthreads(self) -> object:
        return self.answer()


@pytest.mark.usefixtures("hasty")
def test_a_cluster_that_falls_silent_or_is_lost_is_told_of() -> None:
    def fail() -> None:
        raise OSError("Stream is closed")

    silence = threading.Event()
    for answer, finding in ((silence.wait, "has not answered for 0 s; see whether"), (fail, "was lost")):
        workers = working.ClusterWorkers(cast(Any, CutOff(answer)), "tcp://host:1")
        with pytest.raises(ClusterError, match=f"cluster tcp://host:1: {finding}"):
            workers.check()
        with pytest.raises(ClusterError, match=f"cluster tcp://host:1: {finding}"):
            list(workers.work(tasks.sleep, [(0.0,)], ["w"], [1]))
    silence.set()


def test_a_worker_that_is_lost_meanwhile_is_no_worker_with_other_code() -> None:
    lost = {"tcp://host:2": OSError("Stream is closed"), "tcp://host:3": dict(working.code())}
    working.ClusterWorkers(cast(Any, CutOff(lambda: lost)), "tcp://host:1").check()
    broken = {"tcp://host:2": ImportError("no onnxzip")}
    with pytest.raises(ClusterError, match="its worker tcp://host:2 cannot run this onnxzip"):
        working.ClusterWorkers(cast(Any, CutOff(lambda: broken)), "tcp://host:1").check()


def test_dask_prints_nothing_of_its_own(address: str, capfd: pytest.CaptureFixture[str]) -> None:
    log = logging.getLogger("distributed.client")
    log.setLevel(logging.WARNING)  # as Dask's configuration has it, unless a test was here before
    with open_cluster(address):
        log.error("what errors say")
    assert "what errors say" not in capfd.readouterr().err
    assert log.level == logging.WARNING


@pytest.mark.usefixtures("hasty")
def test_an_address_without_a_scheduler_is_told_of() -> None:
    for where in ("tcp://127.0.0.1:1", "tcp://host.invalid:8786"):
        with pytest.raises(
            ClusterError, match=rf"cluster {where}: no scheduler answers \((?!in <).+\); "
        ):
            compress(cluster=where)


def test_a_failure_without_words_is_called_by_its_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError from TimeoutError()

    monkeypatch.setattr("distributed.Client", fail)
    with pytest.raises(ClusterError, match=r"no scheduler answers \(OSError\); "):
        compress(cluster="tcp://127.0.0.1:1")


def make_certificates(folder: Path) -> tuple[Path, Path]:
    """Return a certificate for this machine and its key."""
    if shutil.which("openssl") is None:
        pytest.skip("needs openssl")
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    request = f"req -x509 -newkey rsa:2048 -nodes -days 1 -subj /CN=x -out {certificate} -keyout {key}"
    subprocess.run(["openssl", *request.split()], check=True, capture_output=True)
    return certificate, key


@pytest.mark.usefixtures("hasty")
def test_tls_takes_the_certificates_of_dasks_configuration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(
        ClusterError, match=r"tls://127.0.0.1:1: needs certificates; name them in Dask's"
    ):
        compress(cluster="tls://127.0.0.1:1")
    certificate, key = make_certificates(tmp_path)
    given = {"distributed.comm.tls.ca-file": str(certificate)}
    for role in ("client", "scheduler", "worker"):
        given[f"distributed.comm.tls.{role}.cert"] = str(certificate)
        given[f"distributed.comm.tls.{role}.key"] = str(key)
    lacking = {**given, "distributed.comm.tls.ca-file": str(tmp_path / "none.pem")}
    unread = pytest.raises(ClusterError, match=r"certificates cannot be read \(.*No such file")
    with dask.config.set(lacking), unread:
        compress(cluster="tls://127.0.0.1:1")
    monkeypatch.setattr(working, "_CONNECT_S", 20.0)
    with dask.config.set(given):
        security = distributed.security.Security()
        with distributed.LocalCluster(
            **{"n_workers": 1, "processes": False, "dashboard_address": ":0", "silence_logs": 60},
            **{"protocol": "tls://", "security": security},
        ) as cluster:
            assert cluster.scheduler_address.startswith("tls://")
            with open_cluster(cluster.scheduler_address) as workers:
                assert list(workers.work(tasks.sleep, [(0.0,)], ["w"], [1])) == [(0, 0.0, True)]


def test_without_the_package_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(
        UsageError, match=r"cluster needs the package distributed; pip install 'onnxzip\["
    ):
        compress(cluster="tcp://127.0.0.1:1")
