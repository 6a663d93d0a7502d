"""The subject: feeds of several families in turn, probes of each, and what a file is judged by."""

import math

import numpy as np
import pytest

from onnxzip.inputs.feedset import FeedSet
from onnxzip.measure.metrics import make_metric
from onnxzip.measure.subject import Sample, Subject, judgement_of


def sample(
    family: str, n_runs: int, first: int, *, is_like_real: bool = False, seed: int | None = 0
) -> Sample:
    rng = np.random.default_rng(first)
    feeds = tuple({"x": np.full(1, first + i)} for i in range(n_runs))
    reference = [{"y": rng.standard_normal((8, 2))} for _ in range(n_runs)]
    known = FeedSet(feeds, (8,) * n_runs, seed, "", family, is_like_real)
    return Sample(known, reference, make_metric("nrmse"))  # type: ignore[arg-type]


def subject(samples: tuple[Sample, ...], fitted: tuple[Sample, ...] | None = None) -> Subject:
    fitted = samples if fitted is None else fitted
    return Subject(samples, fitted, fitted, ("CPU",), None)


def fed(feeds: FeedSet) -> list[int]:
    return [int(run["x"][0]) for run in feeds]


def test_what_is_like_real_is_fitted_to_alone() -> None:
    """Noise beside photographs is judged, and fitted to only where there is nothing better."""
    photos, noise = sample("photos", 3, 0, is_like_real=True), sample("noise", 3, 10)
    assert fed(subject((photos, noise)).fitted_feeds) == [0, 1, 2]
    assert fed(subject((noise, sample("levels", 3, 20))).fitted_feeds) == [10, 20, 11, 21, 12, 22]


def test_exact_checks_run_on_every_family() -> None:
    families = tuple(sample(str(i), 9, 10 * i) for i in range(4))
    assert fed(subject(families).exact_feeds) == [0, 10, 20, 30, 1, 11, 21, 31]


@pytest.mark.parametrize(
    ("n_families", "n_each", "n_wide"), [(1, 4, 16), (2, 2, 8), (3, 2, 6), (6, 2, 3)]
)
def test_probes_are_a_few_runs_of_each_family(n_families: int, n_each: int, n_wide: int) -> None:
    """As many in all, but two of each at least."""
    found = subject(tuple(sample(str(i), 30, 100 * i) for i in range(n_families)))
    assert [len(probe.feeds) for probe in found.probes] == [n_each] * n_families
    assert [len(probe.feeds) for probe in found.wide_probes] == [n_wide] * n_families
    assert [fed(probe.feeds)[0] for probe in found.probes] == [100 * i for i in range(n_families)]


def test_probes_are_of_what_is_fitted_to() -> None:
    held, fitted = sample("", 4, 0), sample("", 12, 100)
    found = subject((held,), (fitted,))
    assert found.is_held_out
    assert fed(found.probes[0].feeds) == [100, 101, 102, 103]
    assert not subject((held,)).is_held_out


def test_second_moments_are_of_all_that_the_verdict_is_not_on() -> None:
    held, tried, fitted = sample("", 4, 0), sample("", 2, 50), sample("", 3, 100)
    found = Subject((held,), (tried,), (fitted,), ("CPU",), None)
    assert fed(found.known_feeds) == [100, 101, 102, 50, 51]
    assert fed(found.fitted_feeds) == [100, 101, 102]
    assert fed(subject((held,), (fitted,)).known_feeds) == [100, 101, 102]


def test_only_what_is_no_default_is_written_into_the_file() -> None:
    assert judgement_of(subject((sample("", 4, 0),))) is None
    on_data = judgement_of(subject((sample("", 4, 0, seed=None),)))
    assert on_data is not None
    assert (on_data.metric, on_data.limit, on_data.on_data) == ("nrmse", 0.1, True)
    unlimited = sample("", 4, 0)
    unlimited = Sample(unlimited.feeds, unlimited.reference, make_metric("rel_l2", math.inf))
    found = judgement_of(subject((unlimited,)))
    assert found is not None
    assert (found.metric, found.limit, found.on_data) == ("rel_l2", None, False)
