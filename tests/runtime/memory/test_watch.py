"""What a run holds is seen, and ends it where that is too much."""

from __future__ import annotations

import subprocess
import sys
import time

import numpy as np
import pytest

from onnxzip.errors import InputError, UsageError
from onnxzip.runtime.memory import watch as module
from onnxzip.runtime.memory.held import held_alone, held_bytes
from onnxzip.runtime.memory.watch import watched

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells what is held")

SIZE = 200 << 20
TOO_MUCH = r"^the run came to hold \d+MB, more than max_memory \d+MB; allow more, or"


def hold(n_bytes: int, seconds: float) -> None:
    """Hold so much memory for a while, in Python code."""
    array = np.ones(n_bytes, np.uint8)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        time.sleep(0.001)
    del array


def test_the_most_that_was_held_is_told() -> None:
    with watched(None) as watch:
        before = watch.peak
        assert watch.n_free is None
        hold(SIZE, 0.3)
    assert 0.9 * SIZE < watch.peak - before < 1.5 * SIZE
    assert held_bytes() - before < SIZE / 2


def test_what_another_process_holds_counts() -> None:
    code = f"import sys; x = bytearray(b'1') * {SIZE}; print(flush=True); sys.stdin.read()"
    child = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert child.stdout is not None
    child.stdout.readline()
    assert held_bytes() - held_alone(child.pid) > 0
    assert held_bytes() > SIZE
    child.communicate()
    assert held_alone(child.pid) == 0


def test_a_run_that_comes_to_hold_too_much_is_ended() -> None:
    limit = held_bytes() + SIZE // 2
    with watched(limit) as watch:
        assert watch.n_free is not None
        assert 0 < watch.n_free <= SIZE // 2
    with pytest.raises(InputError, match=TOO_MUCH), watched(limit):
        hold(SIZE, 20)
    time.sleep(0.1)  # nothing comes later


def test_what_runs_no_python_is_given_up() -> None:
    given_up: list[bool] = []

    def in_a_kernel() -> None:
        array = np.ones(2 * SIZE, np.uint8)
        time.sleep(0.5)  # no exception gets through
        del array

    limit = held_bytes() + SIZE // 2
    with pytest.raises(InputError, match=TOO_MUCH), watched(limit, lambda: given_up.append(True)):
        in_a_kernel()
    assert given_up
    with watched(held_bytes() + 4 * SIZE, lambda: given_up.clear()):
        in_a_kernel()
    assert given_up  # nothing was given up that held no more than it may


def test_a_destructor_or_a_handler_of_failures_swallows_nothing() -> None:
    def stubborn() -> None:
        try:
            hold(SIZE, 20)
        except Exception as error:  # what onnxruntime raises has no common base class
            raise AssertionError from error

    with pytest.raises(InputError, match="came to hold"), watched(held_bytes() + SIZE // 2):
        stubborn()


def test_files_that_are_put_in_place_are_not_stopped() -> None:
    with watched(held_bytes() + SIZE // 2) as watch:
        watch.stop_ending()
        hold(SIZE, 0.3)
    assert watch.peak > SIZE


def test_a_limit_below_what_anything_takes_is_refused_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    little = r"max_memory 1MB is too little: .*; allow \d+MB or more"
    with pytest.raises(InputError, match=little), watched(1_000_000):
        raise AssertionError
    monkeypatch.setattr(module, "is_known", lambda: False)
    with pytest.raises(UsageError, match="on Linux only"), watched(1 << 40):
        raise AssertionError
