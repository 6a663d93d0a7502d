"""Sensitivities as a prober measures them, on a session whose outputs are off by what is asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from onnxzip.choose.chooser import _cap
from onnxzip.choose.lagrangian import Sensitivity
from onnxzip.choose.probing.points import never_falling
from onnxzip.choose.sensitivity import PROBE_ERROR, Prober
from onnxzip.inputs.feedset import FeedSet
from onnxzip.measure.aim import Outcome
from onnxzip.measure.metrics import make_metric
from onnxzip.measure.subject import Sample, Subject
from onnxzip.records.plan import Candidate, Plan
from tests.choose.test_search import make_ladder, make_layer

FEEDS = FeedSet(({},), (1,))
SAMPLES: Any = (Sample(FEEDS, [], make_metric("rel_l2", 0.1)),)
RUNGS = [(100, 0.6), (400, 0.2), (1000, PROBE_ERROR), (3000, 0.001)]


class Trials:
    """Stands for a TrialSession: weights are their errors, outputs move by a function of them."""

    def __init__(
        self, moves: Mapping[str, Callable[[float], float]], losses: Mapping[int, float]
    ) -> None:
        self._moves, self._losses = moves, losses
        self.measured: list[tuple[str, float]] = []

    def probe(self, weights: Mapping[str, float], probes: object) -> float:
        ((name, error),) = weights.items()
        self.measured.append((name, error))
        return self._moves[name](error)

    def losses(self, weights: Mapping[str, float], sample: Sample) -> tuple[float, float]:
        return self._losses[id(sample)], self._losses[id(sample)]


def make_prober(
    moves: Mapping[str, Callable[[float], float]], ladders: Mapping[str, Sequence[Candidate]]
) -> tuple[Prober, Trials]:
    proposal: Any = SimpleNamespace(ladders=ladders, model=None, layers=())
    restorer: Any = SimpleNamespace(
        restore=lambda candidate: candidate.error,
        restore_all=lambda found: {c.layer.name: c.error for c in found},
    )
    prober = Prober(proposal, Subject(SAMPLES, SAMPLES, SAMPLES, (), None), restorer)
    prober._trials = trials = Trials(moves, {})
    return prober, trials


def ladders_of(*names: str) -> dict[str, Sequence[Candidate]]:
    return {name: make_ladder(make_layer(name, 1000), RUNGS) for name in names}


def test_each_layer_is_measured_near_the_probe_error() -> None:
    ladders = {**ladders_of("calm", "nervous", "dark"), "exact": []}
    moves = {"calm": lambda e: 0.1 * e, "nervous": lambda e: 3 * e, "dark": lambda e: 0.0}
    prober, trials = make_prober(moves, ladders)
    assert prober.probe_all(lambda *_: None) == ["dark"]
    assert trials.measured == [(name, PROBE_ERROR) for name in ("calm", "nervous", "dark")]
    levels = {name: s.at(PROBE_ERROR) for name, s in prober.sensitivities.items()}
    between = 0.1 + 0.75 * 2.9
    assert levels == pytest.approx({"calm": 0.1, "nervous": 3, "dark": between, "exact": 1})


def test_layers_that_get_larger_errors_are_measured_there() -> None:
    """A layer that is harmless at 0.05 costs more than all others at 0.6, and the plan is made anew."""
    ladders = ladders_of("steep", "flat")
    prober, trials = make_prober({"steep": lambda e: 4 * e**3, "flat": lambda e: 0.1 * e}, ladders)
    prober.probe_all(lambda *_: None)
    trials.measured.clear()
    plan = prober.plan_for(ladders, 0.1)
    assert {name: c.error for name, c in plan.chosen.items()} == {"steep": 0.2, "flat": 0.6}
    assert sorted(trials.measured) == [("flat", 0.6), ("steep", 0.2), ("steep", 0.6)]
    assert prober.sensitivities["steep"].at(0.6) == pytest.approx(4 * 0.6**2)
    trials.measured.clear()
    prober.plan_for(ladders, 0.1)
    assert trials.measured == []


def test_layers_that_no_feed_reached_are_not_measured_again() -> None:
    ladders = ladders_of("seen", "dark")
    prober, trials = make_prober({"seen": lambda e: 0.1 * e, "dark": lambda e: 0.0}, ladders)
    prober.probe_all(lambda *_: None)
    before = prober.sensitivities["dark"]
    trials.measured.clear()
    assert prober.plan_for(ladders, 1.0).chosen["dark"].error == 0.6
    assert trials.measured == [("seen", 0.6)]
    assert prober.sensitivities["dark"] == before


def test_a_large_error_without_effect_keeps_what_a_small_one_showed() -> None:
    """As where a saturated unit hides it: a sensitivity of 0 would allow any error."""
    ladders = ladders_of("w")
    prober, _ = make_prober({"w": lambda e: 0.5 * e if e < 0.1 else 0.0}, ladders)
    prober.probe_all(lambda *_: None)
    prober.plan_for(ladders, 1.0)
    assert prober.sensitivities["w"] == Sensitivity(((PROBE_ERROR, 0.5), (0.6, 0.5)))


@pytest.mark.parametrize(
    ("searched", "fitted", "expected"),
    [(0.05, 0.08, (0.05, True)), (0.05, 0.2, (0.2, False)), (0.3, 0.2, (0.3, False))],
)
def test_plans_pass_on_what_is_searched_on_and_on_what_is_fitted_to(
    searched: float, fitted: float, expected: tuple[float, bool]
) -> None:
    """What the verdict is on is not asked: it has no loss here, and a trial on it would fail."""
    metric = make_metric("rel_l2", 0.1)
    judged, *samples = [Sample(FEEDS, [], metric) for _ in range(3)]  # type: ignore[arg-type]
    prober, _ = make_prober({}, {})
    prober.subject = Subject((judged,), (samples[0],), (samples[1],), (), None)
    losses = {id(s): loss for s, loss in zip(samples, (searched, fitted), strict=True)}
    prober._trials = Trials({}, losses)
    found = prober.outcome(Plan({}, 0.1, 0, 0.0))
    assert (found.value, found.passed) == expected


def test_what_is_not_held_out_is_measured_once() -> None:
    samples: Any = (Sample(FEEDS, [], make_metric("rel_l2", 0.1)),)
    prober, _ = make_prober({}, {})
    prober.subject = Subject(samples, samples, samples, (), None)
    asked: list[object] = []

    def losses(weights: Mapping[str, np.ndarray], of: object) -> tuple[float, float]:
        asked.append(of)
        return 0.01, 0.01

    prober._trials = SimpleNamespace(losses=losses)
    assert prober.outcome(Plan({}, 0.1, 0, 0.0)) == Outcome(0.01, 0.01, True)
    assert asked == list(samples)


def test_below_a_jump_the_squared_loss_is_proportional_to_the_error() -> None:
    """A layer that decides about something changes as many answers as its error is large."""
    jumping = Sensitivity(((0.1, 2.0),), jumps=True)
    assert jumping.at(0.2) == pytest.approx(2.0)
    loss, less = (jumping.at(error) * error for error in (0.1, 0.001))
    assert less / loss == pytest.approx(0.1)
    assert jumping.with_point(0.2, 3.0).jumps


def test_what_jumps_loses_no_less_at_a_larger_error() -> None:
    """A loss that falls is luck: it counts as the largest at a smaller error."""
    points = ((0.01, 9.0), (0.05, 4.0), (0.1, 1.0), (0.2, 2.0))  # losses 0.09, 0.2, 0.1, 0.4
    found = never_falling(points, 0.05)
    assert [error for error, _ in found] == [0.05, 0.1, 0.2], "what is below is left out"
    losses = [error * value for error, value in found]
    assert losses == pytest.approx([0.2, 0.2, 0.4])
    assert never_falling(points, 1.0) == ()


def test_a_layer_that_jumps_is_known_from_there_on() -> None:
    """It loses 0.5 from an error of 0.3 on and nothing below: what was measured there was luck."""
    ladders = ladders_of("sign")
    prober, _ = make_prober({"sign": lambda e: 0.5 if e > 0.3 else 0.0}, ladders)
    prober.probe_all(lambda *_: None)
    chosen = next(c for c in ladders["sign"] if c.error == 0.6)
    prober._unseen.clear()
    prober.sensitivities["sign"] = Sensitivity(((PROBE_ERROR, 0.01),))
    assert prober.correct(Plan({"sign": chosen}, 0.1, 100, 0.6))
    found = prober.sensitivities["sign"]
    assert found.jumps
    assert found.at(0.6) * 0.6 == pytest.approx(0.5)
    losses = [found.at(error) * error for error in (0.001, 0.05, 0.2, 0.6)]
    assert losses == sorted(losses)
    assert losses[0] == pytest.approx(0.5 * (0.001 / 0.6) ** 0.5)


def test_a_layer_that_jumps_keeps_its_most_exact_candidate() -> None:
    """Even where it is predicted to lose more than its share: a trial tells what it costs."""
    ladders = ladders_of("sign", "calm")
    sensitivities = {
        "sign": Sensitivity(((0.001, 1000.0),), jumps=True),
        "calm": Sensitivity(((0.05, 1.0),)),
    }
    capped = _cap(ladders, sensitivities, ["sign"], 0.05)
    assert [c.error for c in capped["sign"]] == [0.001]
    assert capped["calm"] == ladders["calm"]
    mild = {**sensitivities, "sign": Sensitivity(((0.2, 0.25),), jumps=True)}
    assert sorted(c.error for c in _cap(ladders, mild, ["sign"], 0.05)["sign"]) == [0.001, 0.05, 0.2]
    assert _cap({"sign": []}, sensitivities, ["sign"], 0.05) == {"sign": []}
