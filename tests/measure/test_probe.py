"""Probes: nrmse on a few runs, relative to what the outputs do on all of them."""

import math

import numpy as np
import pytest

from onnxzip.inputs.feedset import FeedSet
from onnxzip.measure.outputs.output_statistics import output_statistics
from onnxzip.measure.probe import Probe

RNG = np.random.default_rng(0)


def probe_of(reference: list[dict[str, np.ndarray]], n_runs: int = 2) -> Probe:
    feeds = FeedSet(({},) * len(reference), (8,) * len(reference))
    return Probe.of(feeds, reference, output_statistics(reference), n_runs)


def runs_of(name: str, runs: list[np.ndarray]) -> list[dict[str, np.ndarray]]:
    return [{name: np.asarray(run, np.float32)} for run in runs]


def moved(probe: Probe, name: str, by: float) -> list[dict[str, np.ndarray]]:
    return [{**run, name: run[name] + np.float32(by)} for run in probe.reference]


def test_the_loss_is_relative_to_all_runs() -> None:
    """The two that are looked at are alike, so that by themselves they hardly vary."""
    alike = [np.full((8, 2), 3.0) + 1e-3 * RNG.standard_normal((8, 2)) for _ in range(2)]
    others = [3 + RNG.standard_normal((8, 2)) for _ in range(6)]
    probe = probe_of(runs_of("y", alike + others))
    assert (len(probe.feeds), len(probe.reference)) == (2, 2)
    values = np.concatenate(alike + others)
    deviation = math.sqrt(((values - values.mean(axis=0)) ** 2).mean())
    assert probe.loss(moved(probe, "y", 0.25)) == pytest.approx(0.25 / deviation, rel=1e-5)
    assert probe.loss(probe.reference) == 0


def test_the_worst_output_counts_of_those_that_tell_something() -> None:
    runs = [
        {
            "a": RNG.standard_normal((8, 2)).astype(np.float32),
            "b": (2 * RNG.standard_normal((8, 2))).astype(np.float32),
            "constant": np.ones((8, 2), np.float32),
        }
        for _ in range(4)
    ]
    probe = probe_of(runs)
    assert set(probe.energies) == {"a", "b"}
    losses = [probe.loss(moved(probe, name, 0.1)) for name in ("a", "b", "constant")]
    assert losses[0] == pytest.approx(0.1 / math.sqrt(probe.energies["a"]), rel=1e-5)
    assert losses[0] > 1.5 * losses[1] > 0
    assert losses[2] == 0


def test_where_nothing_tells_anything_outputs_are_held_to_their_size() -> None:
    probe = probe_of(runs_of("y", [np.full((8, 2), 4.0)] * 4))
    assert probe.loss(moved(probe, "y", 1)) == pytest.approx(0.25)


def test_outputs_of_zero_that_move_are_an_infinite_loss() -> None:
    probe = probe_of(runs_of("y", [np.zeros((8, 2))] * 4))
    assert probe.loss(moved(probe, "y", 1)) == math.inf
    assert probe.loss(probe.reference) == 0


@pytest.mark.parametrize("bad", [np.full((8, 2), np.nan), np.zeros((8, 3)), np.full((8, 2), np.inf)])
def test_what_is_no_number_or_changes_its_shape_is_an_infinite_loss(bad: np.ndarray) -> None:
    probe = probe_of(runs_of("y", [RNG.standard_normal((8, 2)) for _ in range(4)]))
    assert probe.loss([probe.reference[0], {"y": bad.astype(np.float32)}]) == math.inf


def test_answers_count_by_the_share_that_changes() -> None:
    probe = probe_of([{"k": np.arange(8) + i} for i in range(4)])
    other = [{"k": run["k"] + (np.arange(8) < 2)} for run in probe.reference]
    assert probe.loss(other) == pytest.approx(0.25)
