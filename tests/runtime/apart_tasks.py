"""Tasks for a process of its own, which imports them by name."""

from __future__ import annotations

import ctypes
import os
import signal
import time
from collections.abc import Iterator

import numpy as np

from onnxzip.errors import ModelError


def echo(value: object) -> object:
    return value


def count(n: int, fails: bool = False) -> Iterator[np.ndarray]:
    for i in range(n):
        yield np.full(i, i)
    if fails:
        fail()


def fail() -> None:
    raise ModelError("m.onnx: broken")


def crash() -> None:
    ctypes.string_at(0)


def divide() -> None:
    os.kill(os.getpid(), signal.SIGFPE)


def leave() -> None:
    os._exit(7)


def spin() -> None:
    while True:
        pass


def fill() -> float:
    return float(np.ones(1 << 28).sum())


def say_and_print() -> str:
    os.write(1, b"noise")
    os.write(2, b"more noise")
    return "answer"


def sleep(seconds: float) -> None:
    time.sleep(seconds)
