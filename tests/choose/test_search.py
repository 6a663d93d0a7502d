"""The planner on synthetic ladders: budgets are kept, nothing better is overlooked, searches end."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onnxzip.choose import search as planner
from onnxzip.choose.lagrangian import Sensitivity, choose, moved, n_saved_bytes
from onnxzip.choose.probing.points import fill_unseen
from onnxzip.choose.search import Planner, Trial, aim, best_trial, search
from onnxzip.choose.sensitivity import PROBE_ERROR, doubtful, probes
from onnxzip.records.layer import Layer, Layout
from onnxzip.records.plan import Candidate, Plan
from onnxzip.transforms import allocation

SETTINGS = settings(derandomize=True, deadline=None, max_examples=60)
Ladders = Mapping[str, Sequence[Candidate]]


def make_layer(name: str, n_floats: int) -> Layer:
    weight = np.zeros((1, n_floats), np.float32)
    return Layer(name, "MatMul", weight, Layout((), (0,), (1,), ()))


def make_ladder(
    layer: Layer, rungs: Sequence[tuple[int, float]], name: str = "scalar"
) -> list[Candidate]:
    return [Candidate(layer, name, {"i": i}, n, e) for i, (n, e) in enumerate(rungs)]


@st.composite
def ladders(draw: st.DrawFn, max_layers: int = 4, max_rungs: int = 5) -> Ladders:
    """Draw layers of different sizes, with candidates in no order at all."""
    found = {}
    for i in range(draw(st.integers(1, max_layers))):
        layer = make_layer(f"w{i}", draw(st.integers(300, 5000)))
        n_bytes = st.integers(40, layer.weight.nbytes - 1)
        rung = st.tuples(n_bytes, st.floats(1e-6, 1.5))
        found[layer.name] = make_ladder(layer, draw(st.lists(rung, max_size=max_rungs)))
    return found


def sensitivities_for(given_ladders: Ladders, seed: int) -> dict[str, Sensitivity]:
    rng = np.random.default_rng(seed)
    levels = {name: float(10 ** rng.uniform(-3, 1)) for name in given_ladders}
    return {
        name: Sensitivity(((0.05, level), (0.5, level * float(rng.uniform(0.5, 2)))))
        for name, level in levels.items()
    }


def constant(**levels: float) -> dict[str, Sensitivity]:
    return {name: Sensitivity(((1.0, level),)) for name, level in levels.items()}


def predicted(plan: Plan, sensitivity: Mapping[str, Sensitivity]) -> float:
    return math.sqrt(sum((sensitivity[n].at(c.error) * c.error) ** 2 for n, c in plan.chosen.items()))


BUDGETS = st.floats(1e-5, 3.0)
SEEDS = st.integers(0, 10**6)


@given(ladders(), SEEDS, BUDGETS)
@SETTINGS
def test_budget_is_kept(given_ladders: Ladders, seed: int, budget: float) -> None:
    sensitivity = sensitivities_for(given_ladders, seed)
    plan = choose(given_ladders, sensitivity, budget)
    assert predicted(plan, sensitivity) <= budget * (1 + 1e-9)
    assert plan.budget == budget
    assert plan.n_bytes == sum(c.n_bytes for c in plan.chosen.values())
    assert plan.error == max((c.error for c in plan.chosen.values()), default=0.0)
    for name, candidate in plan.chosen.items():
        assert any(candidate is c for c in given_ladders[name])


@given(ladders(), SEEDS, BUDGETS, st.floats(1.0, 30.0))
@SETTINGS
def test_a_larger_budget_never_saves_less(
    given_ladders: Ladders, seed: int, budget: float, factor: float
) -> None:
    sensitivity = sensitivities_for(given_ladders, seed)
    small, large = (choose(given_ladders, sensitivity, b) for b in (budget, budget * factor))
    assert n_saved_bytes(large) >= n_saved_bytes(small)


@given(ladders(max_layers=3, max_rungs=4), SEEDS, BUDGETS)
@SETTINGS
def test_no_other_plan_is_better_in_both(given_ladders: Ladders, seed: int, budget: float) -> None:
    """By brute force: nothing saves more at less predicted loss (but for the price's last digits)."""
    sensitivity = sensitivities_for(given_ladders, seed)
    plan = choose(given_ladders, sensitivity, budget)
    options = [[(name, c) for c in (*ladder, None)] for name, ladder in given_ladders.items()]
    for combination in itertools.product(*options):
        chosen = {name: c for name, c in combination if c is not None}
        other = Plan(chosen, budget, sum(c.n_bytes for c in chosen.values()), 0.0)
        if predicted(other, sensitivity) < 0.99 * predicted(plan, sensitivity):
            assert n_saved_bytes(other) <= n_saved_bytes(plan)


@given(ladders(), SEEDS)
@SETTINGS
def test_budget_without_limit_takes_the_smallest(given_ladders: Ladders, seed: int) -> None:
    plan = choose(given_ladders, sensitivities_for(given_ladders, seed), 1e6)
    for name, ladder in given_ladders.items():
        if ladder:
            assert plan.chosen[name].n_bytes <= 1.01 * min(c.n_bytes for c in ladder) + 1


@given(ladders(), SEEDS, BUDGETS)
@SETTINGS
def test_choice_is_deterministic(given_ladders: Ladders, seed: int, budget: float) -> None:
    sensitivity = sensitivities_for(given_ladders, seed)
    first, second = (choose(given_ladders, sensitivity, budget) for _ in range(2))
    assert list(first.chosen.items()) == list(second.chosen.items())


@SETTINGS
@given(ladders(), st.integers(0, 99), st.floats(1e-3, 1.0))
def test_what_is_not_solved_for_could_not_win(given_ladders: Ladders, seed: int, budget: float) -> None:
    sensitivity = sensitivities_for(given_ladders, seed)
    found = choose(given_ladders, sensitivity, budget)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(allocation, "_ROUNDING", math.inf)  # every candidate is solved for
        assert choose(given_ladders, sensitivity, budget).chosen == found.chosen


def test_sensitive_layers_get_the_bytes() -> None:
    """Of two equal layers the one that matters more is stored more exactly."""
    rungs = [(100, 0.5), (200, 0.2), (400, 0.05), (800, 0.01)]
    both = {name: make_ladder(make_layer(name, 1000), rungs) for name in ("calm", "nervous")}
    plan = choose(both, constant(calm=0.05, nervous=2.0), 0.1)
    assert plan.chosen["calm"].error > plan.chosen["nervous"].error


def test_keep_and_candidates_that_save_nothing_are_no_change() -> None:
    layer = make_layer("w", 100)
    kept = {"w": [Candidate(layer, "keep", {}, 400, 0.0)]}
    assert choose(kept, constant(w=1.0), 0.1).chosen == {}
    larger = {"w": [Candidate(layer, "scalar", {}, 500, 0.01)]}
    assert choose(larger, constant(w=1.0), 0.1).chosen == {}
    assert choose({"w": []}, constant(w=1.0), 0.1).chosen == {}
    assert choose({}, {}, 0.1).chosen == {}


def test_candidates_of_infinite_error_are_never_taken() -> None:
    ladder = make_ladder(make_layer("w", 100), [(10, math.inf), (100, 0.05)])
    plan = choose({"w": ladder}, constant(w=1.0), 0.1)
    assert plan.chosen["w"] is ladder[1]


def test_probes_are_inexact_and_near_the_probe_error() -> None:
    layer = make_layer("w", 1000)
    ladder = make_ladder(layer, [(10, 0.9), (20, 0.06), (30, 0.001), (40, 0.0)])
    assert probes({"w": ladder, "empty": []}) == {"w": ladder[1]}
    assert probes({"exact": make_ladder(layer, [(40, 0.0)])}) == {}


def test_probes_are_candidates_whose_error_was_measured() -> None:
    layer = make_layer("w", 1000)
    (measured,) = make_ladder(layer, [(30, 0.5)])
    estimate = replace(measured, error=PROBE_ERROR, is_estimate=True)
    assert probes({"w": [estimate, measured]}) == {"w": measured}


def test_unseen_layers_count_as_sensitive_ones() -> None:
    filled, unseen = fill_unseen({"a": 1.0, "b": 2.0, "c": 3.0, "dark": 0.0})
    assert unseen == ["dark"]
    assert 2.0 <= filled["dark"] <= 3.0
    assert fill_unseen({"dark": 0.0}) == ({"dark": 1.0}, ["dark"])
    assert fill_unseen({}) == ({}, [])


def test_sensitivity_follows_a_power_between_its_points() -> None:
    measured = Sensitivity(((0.05, 0.1),))
    assert measured.at(0.001) == measured.at(0.9) == pytest.approx(0.1)
    measured = measured.with_point(0.8, 0.4)
    assert [measured.at(e) for e in (0.0, 0.05, 0.2, 0.8, 2.0)] == pytest.approx(
        [0.1, 0.1, 0.2, 0.4, 0.4]
    )
    assert measured.with_point(0.8, 0.9).points == ((0.05, 0.1), (0.8, 0.9))
    assert measured.with_point(0.01, 0.3).points[0] == (0.01, 0.3)


def test_doubtful_is_what_was_measured_at_far_smaller_errors_only() -> None:
    layers = {name: make_layer(name, 1000) for name in ("near", "far", "known")}
    ladders = {
        name: make_ladder(layer, [(100, 0.07 if name == "near" else 0.6)])
        for name, layer in layers.items()
    }
    known = {name: Sensitivity(((0.05, 0.01),)) for name in layers}
    known["known"] = known["known"].with_point(0.45, 0.01)
    plan = choose(ladders, known, 1.0)
    assert set(plan.chosen) == set(layers)
    assert set(doubtful(plan, known)) == {"far"}


# The search


@dataclass
class Bench:
    """A model of random layers whose true loss is a given function of the predicted one."""

    loss_of: Callable[[float], float]
    tolerance: float
    seed: int = 0
    measured: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        rng = np.random.default_rng(self.seed)
        self.ladders = {}
        for i in range(6):
            layer = make_layer(f"w{i}", int(rng.integers(1000, 20000)))
            errors = 0.7 * 0.6 ** np.arange(14)
            sizes = layer.weight.nbytes * np.linspace(0.04, 0.6, 14)
            self.ladders[layer.name] = make_ladder(
                layer, [(int(n), float(e)) for n, e in zip(sizes, errors, strict=True)]
            )
        self.sensitivities = sensitivities_for(self.ladders, self.seed)

    def plan_for(self, budget: float) -> Plan:
        return choose(self.ladders, self.sensitivities, budget)

    def measure(self, plan: Plan) -> tuple[float, bool]:
        loss = self.loss_of(predicted(plan, self.sensitivities))
        self.measured.append(loss)
        return loss, loss <= self.tolerance

    def best_possible(self) -> int:
        """Return the most that any budget saves within the tolerance, on a fine grid of budgets."""
        passed = [n for n, loss in saved_by_budget(self.seed) if self.loss_of(loss) <= self.tolerance]
        return max(passed, default=0)


@cache
def saved_by_budget(seed: int) -> list[tuple[int, float]]:
    """Return the bytes saved and the loss predicted at each of 120 budgets: the plans of all losses."""
    bench = Bench(lambda x: x, 0.1, seed)
    plans = [bench.plan_for(float(budget)) for budget in np.geomspace(1e-4, 10, 120)]
    return [(n_saved_bytes(plan), predicted(plan, bench.sensitivities)) for plan in plans]


LOSSES: dict[str, Callable[[float], float]] = {
    "proportional": lambda x: x,
    "twice": lambda x: 2 * x,
    "tenth": lambda x: x / 10,
    "square": lambda x: x * x,
    "root": lambda x: 0.1 * math.sqrt(x),
    "saturating": lambda x: math.tanh(x),
    "cliff": lambda x: x if x < 0.05 else 10.0,
    "stairs": lambda x: math.ceil(x * 50) / 50,
    "answers": lambda x: max(0.0, math.floor(200 * (x - 0.05)) / 200),
    "exploding": lambda x: math.inf if x > 0.03 else x,
    "quiet": lambda x: 0.0 if x < 0.4 else x,
}


@pytest.mark.parametrize("aims", [True, False])
@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("name", LOSSES)
def test_search_finds_nearly_the_best(name: str, seed: int, aims: bool) -> None:
    """Within the trials allowed it saves almost what an exhaustive scan of budgets would."""
    bench = Bench(LOSSES[name], 0.1, seed)
    trials = search(Planner(bench.plan_for), bench.measure, 0.1, 0.1 if aims else None)
    assert len(bench.measured) == len(trials) <= planner.MAX_TRIALS
    best = best_trial(trials)
    assert best is not None
    assert best.loss <= 0.1
    assert n_saved_bytes(best.plan) >= 0.97 * bench.best_possible()


@pytest.mark.parametrize("aims", [True, False])
@pytest.mark.parametrize("loss", [0.5, math.inf, 0.0])
def test_search_ends_where_the_loss_does_not_move(loss: float, aims: bool) -> None:
    """A loss that never passes, or never shows, ends the search; the former gives no plan."""
    bench = Bench(lambda _: loss, 0.1)
    best = best_trial(search(Planner(bench.plan_for), bench.measure, 0.1, 0.1 if aims else None))
    assert len(bench.measured) <= 2 * planner.MAX_TRIALS
    assert (best is None) == (loss > 0.1)


@pytest.mark.parametrize("aims", [True, False])
def test_search_goes_on_until_a_plan_passes(aims: bool) -> None:
    """A loss just above the tolerance down to a small budget: aiming by proportion creeps."""
    bench = Bench(lambda x: x if x < 0.004 else 0.101, 0.1)
    trials = search(Planner(bench.plan_for), bench.measure, 0.1, 0.1 if aims else None)
    assert best_trial(trials) is not None


@given(SEEDS, st.floats(1e-4, 1.0), st.floats(0.01, 100), st.floats(0, 0.5), st.booleans())
@settings(derandomize=True, deadline=None, max_examples=25)
def test_search_never_returns_a_failing_plan(
    seed: int, tolerance: float, slope: float, noise: float, aims: bool
) -> None:
    """Also when measurements are noisy, far off, and not monotone."""
    rng = np.random.default_rng(seed)
    bench = Bench(lambda x: slope * x * float(1 + noise * rng.uniform(-1, 1)), tolerance, seed % 7)
    trials = search(Planner(bench.plan_for), bench.measure, tolerance, tolerance if aims else None)
    assert 1 <= len(trials) <= 2 * planner.MAX_TRIALS
    assert [t.loss for t in trials] == bench.measured
    best = best_trial(trials)
    if best is not None:
        assert best.passed
        assert best.loss <= tolerance
        assert n_saved_bytes(best.plan) == max(
            n_saved_bytes(t.plan) for t in trials if t.passed and t.plan.chosen
        )


@pytest.mark.parametrize("power", [0.7, 1.0, 1.5])
def test_aim_ends_near_the_budget_of_the_tolerance(power: float) -> None:
    budgets: list[float] = []

    def plan_for(budget: float) -> Plan:
        budgets.append(budget)
        (candidate,) = make_ladder(make_layer("w", 100), [(100, budget)])
        return Plan({"w": candidate}, budget, 100, budget)

    def measure(plan: Plan) -> tuple[float, bool]:
        return 3 * plan.budget**power, True

    found = aim(Planner(plan_for), measure, 0.1, 0.1)
    assert 3 * found**power == pytest.approx(0.1, rel=0.6)
    assert len(budgets) <= 2
    assert aim(Planner(plan_for), lambda plan: (0.0, True), 0.1, 0.1) > 0.1


def test_no_plan_is_measured_twice() -> None:
    """Two budgets that lead to one plan cost one measurement: each is a run of the whole model."""
    layer = make_layer("w", 1000)
    ladder = {"w": make_ladder(layer, [(100, 0.5), (3000, 0.001)])}
    seen: list[int] = []

    def measure(plan: Plan) -> tuple[float, bool]:
        seen.append(plan.n_bytes)
        loss = sum(c.error for c in plan.chosen.values())
        return loss, loss <= 0.1

    trials = search(Planner(lambda b: choose(ladder, constant(w=1.0), b)), measure, 0.1, 0.1)
    assert len(seen) == len(set(seen)) == len(trials)
    best = best_trial(trials)
    assert best is not None
    assert best.plan.n_bytes == 3000


def test_a_plan_that_is_near_enough_to_the_tolerance_ends_the_search() -> None:
    bench = Bench(lambda x: x, 0.1)
    trials = search(Planner(bench.plan_for), bench.measure, 0.1, 0.1, enough=0.8)
    assert len(trials) == 1
    assert 0.08 <= trials[0].loss <= 0.1
    trials = search(Planner(bench.plan_for), bench.measure, 0.05, 0.1, enough=0.8)
    assert [0.08 <= trial.loss <= 0.1 for trial in trials] == [False] * (len(trials) - 1) + [True]


@pytest.mark.parametrize("n_layers", [1, 2])
def test_larger_budgets_are_looked_at_where_layers_may_make_up_for_each_other(n_layers: int) -> None:
    rungs = [(4000 - 100 * i, 0.01 * i) for i in range(1, 39)]
    ladders = {f"w{i}": make_ladder(make_layer(f"w{i}", 1000), rungs) for i in range(n_layers)}
    levels = constant(**dict.fromkeys(ladders, 1.0))
    measured: list[float] = []

    def plan_for(budget: float) -> Plan:
        return choose(ladders, levels, budget)

    def measure(plan: Plan) -> tuple[float, bool]:
        measured.append(plan.budget)
        return 0.0, True

    state = planner._Search(Planner(plan_for), measure, 0.1, below=0.2)
    planner._look_above(state, 3)
    assert measured == pytest.approx([0.22, 0.24, 0.27] if n_layers == 2 else [])
    measured.clear()
    planner._look_above(planner._Search(Planner(plan_for), measure, 0.1), 3)
    assert measured == []


def test_trials_that_are_left_close_in_between_what_passed_and_what_failed() -> None:
    bench = Bench(lambda x: x, 0.1)
    tried = {}
    for budget in (0.05, 0.4):
        plan = bench.plan_for(budget)
        tried[planner.identity(plan)] = Trial(plan, *bench.measure(plan))
    planner._close_in(planner._Search(Planner(bench.plan_for), bench.measure, 0.1, tried), 8)
    trials = list(tried.values())[2:]
    assert trials[0].plan.budget == pytest.approx((0.05 * 0.4) ** 0.5)
    passed = max(t.plan.budget for t in tried.values() if t.passed)
    failed = min(t.plan.budget for t in tried.values() if not t.passed)
    assert len(tried) < 8
    assert 0.05 < passed < failed < 0.4
    between = planner.identity(bench.plan_for(float((passed * failed) ** 0.5)))
    assert between in tried or failed < 1.04 * passed


@pytest.mark.parametrize("budget", [0.08, 0.11, 0.125])
def test_a_plan_is_moved_to_a_budget_as_it_is(budget: float) -> None:
    """Every layer keeps its curve, and the predicted loss follows the budget."""
    bench = Bench(lambda x: x, 0.1)
    rated = {
        name: [replace(c, settings={"rate": 2.0**i}) for i, c in enumerate(ladder)]
        for name, ladder in bench.ladders.items()
    }
    plan = choose(rated, bench.sensitivities, 0.1)
    found = moved(plan, rated, bench.sensitivities, budget)
    assert found is not None
    assert found.budget == budget
    ratio = predicted(found, bench.sensitivities) / predicted(plan, bench.sensitivities)
    assert ratio == pytest.approx(budget / 0.1, rel=2e-3)
    factors = [c.settings["rate"] / plan.chosen[n].settings["rate"] for n, c in found.chosen.items()]
    inside = [factor for factor in factors if factor != 1]  # the others are at the end of their curve
    assert max(inside) == pytest.approx(min(inside), rel=1e-3)
    assert (found.n_bytes > plan.n_bytes) == (budget < 0.1)


def test_a_plan_without_rates_is_not_moved() -> None:
    bench = Bench(lambda x: x, 0.1)
    plan = bench.plan_for(0.1)
    assert moved(plan, bench.ladders, bench.sensitivities, 0.09) is None


def test_predictions_that_were_corrected_begin_again() -> None:
    """A layer that costs ten times what was predicted is found, and the budget is not cut for all."""
    bench = Bench(lambda x: x, 0.1)
    known = dict(bench.sensitivities)
    true = {**known, "w0": Sensitivity(((1.0, 20 * known["w0"].at(0.1)),))}

    def measure(plan: Plan) -> tuple[float, bool]:
        loss = predicted(plan, true)
        return loss, loss <= 0.1

    def correct(trial: Trial, usual: float) -> float:
        if known["w0"] is true["w0"]:
            return 0.0
        known["w0"] = true["w0"]
        return 0.1

    planned = Planner(lambda budget: choose(bench.ladders, known, budget), correct)
    best = best_trial(search(planned, measure, 0.1, 0.1))
    assert best is not None
    assert best.plan.budget > 0.08


def test_best_trial_ignores_empty_and_failed_plans() -> None:
    layer = make_layer("w", 1000)
    change = Plan({"w": make_ladder(layer, [(100, 0.1)])[0]}, 0.1, 100, 0.1)
    empty = Plan({}, 0.0, 0, 0.0)
    assert best_trial([]) is None
    assert best_trial([Trial(empty, 0.0, True), Trial(change, 1.0, False)]) is None
    assert best_trial([Trial(empty, 0.0, True), Trial(change, 0.1, True)]).plan is change


def test_a_dominant_layer_leaves_no_gap_between_two_prices() -> None:
    """At the hull's prices either the large layer is cheap and all others too, or it is dear."""
    ladders = {
        "large": make_ladder(make_layer("large", 1000), [(100, 0.2), (1000, 0.1)]),
        "small": make_ladder(make_layer("small", 1000), [(10 * i, 0.4 / i) for i in range(1, 9)]),
    }
    sizes = {}
    for budget in np.linspace(0.21, 0.5, 30):
        plan = choose(ladders, constant(large=1.0, small=1.0), budget)
        assert sum(c.error**2 for c in plan.chosen.values()) <= budget**2
        sizes[budget] = plan.n_bytes
    best = {
        budget: min(
            a.n_bytes + b.n_bytes
            for a in ladders["large"]
            for b in ladders["small"]
            if a.error**2 + b.error**2 <= budget**2
        )
        for budget in sizes
    }
    assert sizes == best
