"""Processes of their own: what comes back, and each way in which nothing does."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest

from onnxzip.disk.own_copy import mapping_of
from onnxzip.errors import ModelError
from onnxzip.runtime import apart
from onnxzip.runtime.apart import Limits, LostProcessError, collect_apart, run_apart
from tests.runtime import apart_tasks as tasks

LIMITS = Limits(cpu_s=5, n_bytes=1 << 29)
linux_only = pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such limits")


def test_values_come_back_and_arrays_are_mapped() -> None:
    values = {
        "large": np.arange(1000, dtype=np.float32).reshape(10, 100),
        "narrow": np.ones(5, ml_dtypes.bfloat16),
        "empty": np.zeros((0, 3)),
        "fortran": np.asfortranarray(np.arange(6).reshape(2, 3)),
    }
    found = run_apart(LIMITS, tasks.echo, values)
    for name, array in values.items():
        assert found[name].dtype == array.dtype
        np.testing.assert_array_equal(found[name], array)
    assert mapping_of(found["large"]) is not None
    assert run_apart(LIMITS, tasks.say_and_print) == "answer"


def test_all_that_is_yielded_comes_back() -> None:
    for n in (0, 1, 4):
        found = collect_apart(LIMITS, tasks.count, n)
        assert [array.tolist() for array in found] == [[i] * i for i in range(n)]
        assert all(mapping_of(array) is not None for array in found[1:])


def test_what_a_task_raises_is_raised() -> None:
    with pytest.raises(ModelError, match=r"m\.onnx: broken"):
        run_apart(LIMITS, tasks.fail)
    with pytest.raises(ModelError, match=r"m\.onnx: broken"):
        collect_apart(LIMITS, tasks.count, 3, fails=True)


@pytest.mark.parametrize(
    ("task", "finding"),
    [
        (tasks.crash, "SIGSEGV"),
        (tasks.divide, "SIGFPE"),
        (tasks.leave, "exit code 7"),
        pytest.param(tasks.fill, "more than 536,870,912 bytes of memory", marks=linux_only),
    ],
)
def test_each_way_to_end_has_a_line(task: Callable[[], object], finding: str) -> None:
    with pytest.raises(LostProcessError, match=finding) as caught:
        run_apart(LIMITS, task)
    assert str(caught.value).isprintable()


@linux_only
def test_time_is_limited() -> None:
    with pytest.raises(LostProcessError, match="not done after 1 s of CPU time"):
        run_apart(Limits(cpu_s=1), tasks.spin)


@linux_only
def test_it_ends_with_whoever_asked(tmp_path: Path) -> None:
    """Even when that is killed."""
    code = (
        "from onnxzip.runtime.apart import Limits, run_apart\n"
        "from tests.runtime.apart_tasks import sleep\n"
        "run_apart(Limits(9), sleep, 99)\n"
    )
    root = Path(__file__).parents[2]
    mark = f"ONNXZIP_TEST={tmp_path}"
    asking = subprocess.Popen(
        [sys.executable, "-c", code], cwd=root, env={**os.environ, "ONNXZIP_TEST": str(tmp_path)}
    )

    def alive() -> int:
        n_found = 0
        for path in Path("/proc").glob("[0-9]*/environ"):
            try:
                n_found += mark.encode() in path.read_bytes()
            except OSError:  # it has gone meanwhile, or is another user's
                continue
        return n_found

    def wait_for(n_wanted: int) -> bool:
        for _ in range(600):
            if alive() == n_wanted:
                return True
            time.sleep(0.1)
        return False

    assert wait_for(2)
    asking.send_signal(signal.SIGKILL)
    asking.wait()
    assert wait_for(0)


def test_a_folder_without_room_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(apart, "_write", fail)
    with pytest.raises(OSError, match="No space left") as raised:
        run_apart(Limits(cpu_s=1), len, "")
    assert raised.value.filename == tempfile.gettempdir()
