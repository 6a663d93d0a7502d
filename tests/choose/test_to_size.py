"""Plans for a size: no file above it, none made twice, the best one kept, none made once one is full."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from onnxzip.choose.lagrangian import choose
from onnxzip.choose.search import identity
from onnxzip.choose.to_size import budget_for_size, fill
from onnxzip.records.plan import Plan
from tests.choose.test_search import Bench, constant, make_ladder, make_layer

N_GRAPH = 2000
"""Bytes of a file besides its weights."""


class Files:
    """Makes files of plans, and remembers them; `weigh` says how many bytes the weights really take."""

    def __init__(self, bench: Bench, weigh: Callable[[int], float]) -> None:
        self.bench, self.weigh = bench, weigh
        self.made: list[Plan] = []
        self.sizes: list[int] = []
        self.n_before = N_GRAPH + sum(ladder[0].layer.weight.nbytes for ladder in bench.ladders.values())

    def size_of(self, plan: Plan) -> int:
        left = {n: la[0].layer.weight.nbytes for n, la in self.bench.ladders.items()}
        n_plain = sum(size for name, size in left.items() if name not in plan.chosen)
        self.made.append(plan)
        self.sizes.append(int(N_GRAPH + n_plain + self.weigh(plan.n_bytes)))
        return self.sizes[-1]

    def fill(self, n_bytes: int) -> tuple[Plan | None, int]:
        return fill(self.bench.plan_for, self.bench.plan_for, self.size_of, n_bytes, self.n_before)


def make_files(weigh: Callable[[int], float], seed: int = 0) -> Files:
    return Files(Bench(lambda loss: loss, 0.1, seed), weigh)


WEIGHTS: dict[str, Callable[[int], float]] = {
    "as estimated": lambda n: n,
    "less": lambda n: 0.8 * n,
    "more": lambda n: 1.25 * n + 3000,
    "in steps": lambda n: np.ceil(n / 4096) * 4096,
    "one way and the other": lambda n: n * (1.1 if n // 1000 % 2 else 0.9),
}


@pytest.mark.parametrize("name", WEIGHTS)
def test_the_best_of_the_files_that_fit_is_kept(name: str) -> None:
    files = make_files(WEIGHTS[name])
    n_bytes = int(0.2 * files.n_before)
    plan, smallest = files.fill(n_bytes)
    assert smallest == min(files.sizes)
    assert len({identity(made) for made in files.made}) == len(files.made) <= 5
    fitting = [p for p, size in zip(files.made, files.sizes, strict=True) if size <= n_bytes]
    assert plan is min(fitting, key=lambda p: p.budget, default=None)


def test_a_file_that_is_full_enough_ends_the_search() -> None:
    """Estimates that hold fill a file at once: making more of them costs refits and buys nothing."""
    files = make_files(lambda n: n)
    n_bytes = int(0.3 * files.n_before)
    plan, _ = files.fill(n_bytes)
    assert files.made == [plan]
    assert 0.98 * n_bytes <= files.sizes[0] <= n_bytes


def test_a_file_that_is_not_full_is_followed_by_a_better_one() -> None:
    files = make_files(lambda n: 0.7 * n)
    n_bytes = int(0.3 * files.n_before)
    plan, _ = files.fill(n_bytes)
    assert files.sizes[0] < 0.98 * n_bytes
    assert plan is not None
    assert plan.budget < files.made[0].budget
    assert files.sizes[0] < files.sizes[files.made.index(plan)] <= n_bytes


def test_sizes_that_no_plan_reaches_give_none() -> None:
    files = make_files(lambda n: n)
    plan, smallest = files.fill(N_GRAPH)
    assert plan is None
    assert N_GRAPH < smallest == min(files.sizes)


def test_the_plan_and_not_its_refit_tells_whether_it_is_new() -> None:
    """Refits make new candidates each time; what a plan was before them tells that it was tried."""
    layer = make_layer("w", 1000)
    ladder = {"w": make_ladder(layer, [(100, 0.5), (3000, 0.001)])}
    made: list[int] = []

    def plan_for(budget: float) -> Plan:
        return choose(ladder, constant(w=1.0), budget)

    def refitted_for(budget: float) -> Plan:
        plan = plan_for(budget)
        fitted = {
            n: type(c)(c.layer, c.pass_name, c.settings, c.n_bytes, c.error)
            for n, c in plan.chosen.items()
        }
        return Plan(fitted, plan.budget, plan.n_bytes, plan.error)

    def size_of(plan: Plan) -> int:
        made.append(plan.n_bytes if plan.chosen else layer.weight.nbytes)
        return made[-1]

    plan, smallest = fill(refitted_for, plan_for, size_of, 3500, layer.weight.nbytes)
    assert plan is not None
    assert (plan.n_bytes, smallest, made) == (3000, 3000, [3000, 4000])


def test_the_budget_for_a_size_is_the_smallest_that_saves_so_much() -> None:
    ladder = {"w": make_ladder(make_layer("w", 1000), [(100, 0.5), (3000, 0.001)])}

    def plan_for(budget: float) -> Plan:
        return choose(ladder, constant(w=1.0), budget)

    for n_to_save, budget in ((1, 0.001), (1000, 0.001), (1001, 0.5), (3900, 0.5), (3901, 1e3)):
        assert budget_for_size(plan_for, n_to_save) == pytest.approx(budget, rel=1e-3)


def test_a_plan_whose_file_takes_a_little_more_gives_way_to_a_smaller_one() -> None:
    """Its estimate fits, so that it comes up again for each size between that and its file's."""
    ladders = {"w": make_ladder(make_layer("w", 1000), [(500, 0.5), (1500, 0.1)])}

    def plan_for(budget: float) -> Plan:
        return choose(ladders, constant(w=1.0), budget)

    def size_of(plan: Plan) -> int:
        return N_GRAPH + plan.n_bytes + 40

    found, smallest = fill(plan_for, plan_for, size_of, N_GRAPH + 1520, N_GRAPH + 4000)
    assert found is not None
    assert found.chosen["w"].n_bytes == 500
    assert smallest == N_GRAPH + 540
