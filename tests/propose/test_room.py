"""Weights that are too large for the memory that is left are left alone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from onnxzip.propose.registry import passes
from onnxzip.propose.room import fitting, left_for_each, n_fitting_processes, needed_bytes
from onnxzip.records.layer import Layer, Layout, Statistics

METHODS = {name: make() for name, make in passes().items() if name in ("scalar", "wavelet", "dct")}


def layer_of(n: int) -> Layer:
    return Layer(f"w{n}", "MatMul", np.zeros((n, n), np.float32), Layout((), (1,), (0,), ()))


def test_passes_that_need_less_are_left() -> None:
    layer = layer_of(100)
    assert fitting(layer, METHODS, None) == (METHODS, [])
    assert fitting(layer, METHODS, 10**9) == (METHODS, [])
    frugal = needed_bytes(layer, METHODS["scalar"])
    assert 2 * layer.weight.nbytes < frugal < needed_bytes(layer, METHODS["wavelet"])
    able, (skip,) = fitting(layer, METHODS, frugal)
    assert set(able) == {"scalar", "dct"}
    assert (skip.layer, skip.pass_name) == ("w100", "wavelet")
    assert "takes 1MB of memory or more, and max_memory leaves 1MB" in skip.reason
    able, (skip,) = fitting(layer, METHODS, frugal - 1)
    assert able == {}
    assert set(skip.pass_name.split(", ")) == set(METHODS)


def test_second_moments_take_memory_too() -> None:
    layer = layer_of(100)
    known = replace(layer, statistics=Statistics(np.eye(100, dtype=np.float32), 7))
    assert needed_bytes(known, METHODS["dct"]) > needed_bytes(layer, METHODS["dct"]) + 40_000


def test_no_more_processes_than_fit() -> None:
    assert n_fitting_processes(8, None) == n_fitting_processes(8, 1 << 40) == 8
    assert n_fitting_processes(8, 1 << 20) == n_fitting_processes(1, 1 << 20) == 1
    assert n_fitting_processes(8, 3 << 29) == 3
    assert left_for_each(8, None) is None
    assert left_for_each(1, 1 << 20) == 1 << 20
    assert left_for_each(2, 1 << 30) == (1 << 29) - (200 << 20)
    assert left_for_each(2, 1 << 20) == 0
