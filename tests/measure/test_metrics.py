"""Metrics against their formulas, and what must never pass."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onnxzip.errors import CalibrationError, UsageError
from onnxzip.measure.confidence import interval_of
from onnxzip.measure.metrics import make_metric, metrics
from onnxzip.measure.metrics.rel_l2 import exact_deviation

RNG = np.random.default_rng(0)
Y = RNG.standard_normal((6, 5)).astype(np.float32)
Z = Y + 0.1 * RNG.standard_normal((6, 5)).astype(np.float32)


def runs(array: np.ndarray, name: str = "y", n: int = 3) -> list[dict[str, np.ndarray]]:
    return [{name: part} for part in np.array_split(array, n)]


def loss(name: str, a: np.ndarray, b: np.ndarray, **options) -> float:
    return make_metric(name, **options).measure(runs(a), runs(b)).value


def test_formulas_do_not_depend_on_how_samples_are_split():
    y, z = Y.astype(float), Z.astype(float)
    cosine = np.mean(1 - np.sum(y * z, 1) / np.linalg.norm(y, axis=1) / np.linalg.norm(z, axis=1))
    expected = {
        "rel_l2": np.linalg.norm(y - z) / np.linalg.norm(y),
        "cosine": cosine,
        "psnr": 10 * np.log10((y.max() - y.min()) ** 2 / np.mean((y - z) ** 2)),
        "top1": np.mean(y.argmax(1) != z.argmax(1)),
    }
    for name, value in expected.items():
        for n in (1, 2, 6):
            assert make_metric(name).measure(runs(Y, n=n), runs(Z, n=n)).value == pytest.approx(
                value, rel=1e-9
            )


@pytest.mark.parametrize("name", metrics())
def test_equal_outputs_pass_and_broken_ones_never_do(name):
    metric = make_metric(name)
    assert metric.passes(metric.measure(runs(Y), runs(Y)).value)
    bad = np.full_like(Y, np.nan)
    assert not metric.passes(metric.measure(runs(Y), runs(bad)).value)
    assert not metric.passes(metric.measure(runs(Y), runs(Y[:, :3])).value)
    assert not metric.passes(metric.measure(runs(Y), runs(Y, "other")).value)
    assert not metric.passes(metric.measure(runs(Y), runs(-Y)).value)
    assert not metric.passes(math.nan)


@pytest.mark.filterwarnings("ignore:overflow encountered")
def test_a_value_that_cannot_be_told_never_hides_behind_another():
    """Squares beyond float64: inf / inf of one output is no number, whatever the other output says."""
    huge = np.full((2, 2), 1e200)
    for first, second in (("a", "b"), ("b", "a")):
        found = make_metric("rel_l2").measure([{first: huge, second: Y}], [{first: -huge, second: Z}])
        assert math.isnan(found.value)
        assert not make_metric("rel_l2").passes(found.value)
        assert found.output == first


def test_worst_output_counts():
    reference = [{"good": Y, "bad": Y}]
    outputs = [{"good": Y, "bad": Z}]
    found = make_metric("rel_l2").measure(reference, outputs)
    assert found.output == "bad"
    assert found.value == pytest.approx(loss("rel_l2", Y, Z))
    assert make_metric("psnr").measure(reference, outputs).output == "bad"
    note = make_metric("rel_l2").measure(runs(Y, n=1), runs(Y[:2], n=1)).note
    assert note == "output 'y' changes its shape from (6, 5) to (2, 5)"


def test_same_nan_and_inf_are_left_out_and_said():
    a, b = Y.copy(), Z.copy()
    a[0, :2] = b[0, :2] = np.nan, np.inf
    found = make_metric("rel_l2").measure(runs(a), runs(b))
    keep = np.isfinite(a) & np.isfinite(b)
    assert found.value == pytest.approx(
        np.linalg.norm(a[keep] - b[keep]) / np.linalg.norm(a[keep]), rel=1e-5
    )
    assert "2 NaN or Inf" in found.note
    b[0, 1] = -np.inf
    assert loss("rel_l2", a, b) == math.inf
    assert loss("cosine", a, b) == math.inf
    assert loss("psnr", a, b) == -math.inf
    finite = np.where(np.isnan(a), 0, a)
    found = make_metric("rel_l2").measure(runs(a), runs(finite))
    assert found.value == math.inf
    assert "'y' has NaN or Inf in one model only" in found.note


@settings(derandomize=True, deadline=None)
@given(st.integers(0, 40))
def test_discrete_outputs_count_differing_elements(n_changed):
    a = np.arange(40)
    b = np.where(a < n_changed, -1, a)
    for x, y in [(a, b), (a.astype(str), b.astype(str))]:
        assert exact_deviation(runs(x), runs(y)).value == pytest.approx(n_changed / 40)
        assert loss("cosine", x[:, None], y[:, None]) == pytest.approx(n_changed / 40, abs=0.02)


def test_zero_reference():
    zero = np.zeros((2, 2), np.float32)
    assert exact_deviation(runs(zero, n=1), runs(zero, n=1)).value == 0
    assert exact_deviation(runs(zero, n=1), runs(zero + 1e-9, n=1)).value == math.inf


def test_psnr_of_images_has_peak_255():
    a = np.full((1, 8, 8, 3), 100, np.uint8)
    assert loss("psnr", a, a + 1) == pytest.approx(20 * math.log10(255))


def test_top1_with_labels_is_the_drop_in_accuracy():
    labels = Y.argmax(1)
    changed = Y.copy()
    changed[0] = -changed[0]
    found = make_metric("top1", labels=labels).measure(runs(Y), runs(changed))
    assert found.value == pytest.approx(1 / 6)
    assert found.note == "accuracy 1.0000 to 0.8333"
    assert loss("top1", changed, Y, labels=labels) == pytest.approx(-1 / 6)
    with pytest.raises(CalibrationError, match="labels"):
        loss("top1", Y, Z, labels=labels[:5])
    with pytest.raises(CalibrationError, match="7 labels for 6 answers"):
        loss("top1", Y, Z, labels=np.zeros(7, np.int64))


def test_top1_finds_the_class_axis_and_the_scores():
    tokens = RNG.standard_normal((2, 3, 7))
    pixels = np.moveaxis(tokens, 2, 1)[..., None]
    for array in (tokens, pixels):
        other = array.copy()
        other[np.unravel_index(array.argmax(), array.shape)] = -9  # one answer of six
        assert loss("top1", array, other, labels=None) == pytest.approx(1 / 6)
    label_output = [{"label": np.array([1, 2]), "score": np.ones((2, 1))}]
    assert (
        make_metric("top1").measure(label_output, [{**label_output[0], "label": np.array([1, 3])}]).value
        == 0.5
    )
    with pytest.raises(CalibrationError, match="no output holds class scores"):
        loss("top1", np.ones((4, 1)), np.ones((4, 1)))


def test_user_function(tmp_path, monkeypatch):
    (tmp_path / "my_metric_a.py").write_text(
        "import numpy as np\n"
        "def worst(a, b): return np.abs(a['y'] - b['y']).max()\n"
        "def fails(a, b): raise KeyError('zz')\n"
        "def nan(a, b): return float('nan')\n"
        "def leaves(a, b): raise SystemExit(0)\n"
        "text = 'x'\n"
    )
    (tmp_path / "my_metric_that_exits.py").write_text("raise SystemExit(0)")
    monkeypatch.chdir(tmp_path)
    metric = make_metric("my_metric_a:worst", 0.5)
    assert metric.measure(runs(Y), runs(Z)).value == pytest.approx(np.abs(Y - Z).max())
    assert metric.passes(0.5)
    assert not metric.passes(0.6)
    for name, pattern in [("fails", "KeyError.*zz"), ("nan", "returned NaN"), ("leaves", "SystemExit")]:
        with pytest.raises(CalibrationError, match=pattern):
            make_metric(f"my_metric_a:{name}", 1).measure(runs(Y), runs(Z))
    for name in ("my_metric_that_exits:f", "my_metric_a:none", "no_such_module_b:f", "my_metric_a:text"):
        with pytest.raises(CalibrationError, match=f"metric {name}"):
            make_metric(name, 1)
    with pytest.raises(UsageError, match="tolerance"):
        make_metric("my_metric_a:worst")


class Worst:
    """A metric with a state."""

    def __call__(self, a: dict[str, np.ndarray], b: dict[str, np.ndarray]) -> float:
        return float(np.abs(a["y"] - b["y"]).max())


def test_callable():
    """What a user passes in Python is named by where it is defined, with a colon: never like ours."""

    def psnr(a: dict[str, np.ndarray], b: dict[str, np.ndarray]) -> float:
        return Worst()(a, b)

    for function, name in ((psnr, "test_callable.<locals>.psnr"), (Worst(), "Worst")):
        metric = make_metric(function, 0.5)
        assert metric.name == f"{__name__}:{name}"
        assert metric.measure(runs(Y), runs(Z)).value == pytest.approx(np.abs(Y - Z).max())
        assert metric.passes(metric.measure(runs(Y), runs(Y)).value)
        with pytest.raises(UsageError, match="no default limit; pass tolerance"):
            make_metric(function)
        with pytest.raises(UsageError, match="labels"):
            make_metric(function, 0.5, np.zeros(3, np.int64))


def test_unknown_metric_and_misplaced_labels():
    with pytest.raises(UsageError, match="cosine, nrmse, psnr, rel_l2, top1"):
        make_metric("mse")
    with pytest.raises(UsageError, match="labels"):
        make_metric("rel_l2", labels=np.zeros(3, np.int64))
    assert make_metric("cosine", 0.25).limit == 0.25


SPLITS = st.sets(st.integers(1, 23), max_size=6).map(sorted)


def outputs_of(kind: str, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    y = rng.standard_normal((24, 4))
    z = y + 0.3 * rng.standard_normal((24, 4))
    if kind == "float":
        return y, z
    if kind == "text":
        return (y > 0).astype(str), (z > 0).astype(str)
    return np.rint(9 * y).astype(np.int64), np.rint(9 * z).astype(np.int64)


@pytest.mark.parametrize("name", metrics())
@pytest.mark.parametrize("kind", ["float", "integer", "text"])
@settings(derandomize=True, deadline=None, max_examples=25)
@given(st.integers(0, 1000), SPLITS)
def test_any_split_into_runs_gives_the_same_value_and_interval(name, kind, seed, ends):
    y, z = outputs_of(kind, np.random.default_rng(seed))
    metric = make_metric(name)
    whole = metric.measure([{"y": y}], [{"y": z}], [24])
    parts = [[{"y": part} for part in np.split(array, ends)] for array in (y, z)]
    sizes = [len(run["y"]) for run in parts[0]]
    split = metric.measure(*parts, sizes)
    assert split.value == pytest.approx(whole.value, rel=1e-12)
    assert metric.measure(*parts).value == pytest.approx(whole.value, rel=1e-12)
    intervals = interval_of(metric, split), interval_of(metric, whole)
    if not math.isfinite(whole.value):
        assert intervals == (None, None)
        return
    assert intervals[0] == pytest.approx(intervals[1], rel=1e-9)
    assert intervals[0][0] <= whole.value <= intervals[0][1]


@pytest.mark.parametrize("name", metrics())
@settings(derandomize=True, deadline=None, max_examples=25)
@given(st.integers(0, 1000), st.floats(-1e6, 1e6).filter(lambda scale: abs(scale) > 1e-6))
def test_scaling_both_outputs_changes_nothing(name, seed, scale):
    """All metrics of ours are relative; answers turn around with the sign."""
    y, z = outputs_of("float", np.random.default_rng(seed))
    scale = abs(scale) if name == "top1" else scale
    assert loss(name, scale * y, scale * z) == pytest.approx(loss(name, y, z), rel=1e-9)


@pytest.mark.parametrize("name", metrics())
@pytest.mark.parametrize("kind", ["float", "integer", "text"])
@settings(derandomize=True, deadline=None, max_examples=10)
@given(st.integers(0, 1000))
def test_equal_outputs_are_perfect(name, kind, seed):
    y, _ = outputs_of(kind, np.random.default_rng(seed))
    metric = make_metric(name)
    assert metric.measure(runs(y), runs(y)).value == (math.inf if metric.higher_is_better else 0)
    assert metric.passes(loss(name, y, y))


@pytest.mark.parametrize("name", metrics())
def test_sums_tell_every_output_and_every_sample(name):
    """The parts of a loss come from the sums that the whole was made of."""
    metric = make_metric(name)
    before, after = (
        [{"y": Y[:4], "z": Y[:4]}, {"y": Y[4:], "z": Y[4:]}],
        [
            {"y": Y[:4], "z": Z[:4]},
            {"y": Y[4:], "z": Z[4:]},
        ],
    )
    found = metric.measure(before, after, [4, 2])
    worst = found.sums[0]
    assert worst.output == found.output or name == "top1"
    assert metric.value(worst) == found.value
    if name in ("psnr", "nrmse"):  # the peak, and the mean, are those of all samples
        return
    ratios = np.concatenate(worst.above) / np.concatenate(worst.below)
    other = "y" if name == "top1" else "z"
    of_each = [
        metric.measure([{"y": run[other][i : i + 1]}], [{"y": out[other][i : i + 1]}]).value
        for run, out in zip(before, after, strict=True)
        for i in range(len(run[other]))
    ]
    assert metric.to_value(ratios, worst) == pytest.approx(of_each)


@pytest.mark.parametrize("name", metrics())
def test_a_metric_says_what_the_command_line_and_reports_need(name):
    metric = metrics()[name]
    assert metric.name == name
    assert metric.summary
    assert make_metric(name).limit == metric.default_limit
    assert math.isfinite(metric.default_limit)


def test_nrmse_is_relative_to_what_varies() -> None:
    """The mean answer scores 1, whatever the level of the output; |y| would hide that."""
    rng = np.random.default_rng(0)
    level = np.array([100.0, -30.0, 7.0])
    y = level + rng.standard_normal((40, 3))
    constant = np.broadcast_to(y.mean(axis=0), y.shape)
    assert loss("nrmse", y, constant) == pytest.approx(1.0)
    assert loss("rel_l2", y, constant) < 0.02
    assert loss("nrmse", y + 1000, constant + 1000) == pytest.approx(1.0)
    few = y[:4]
    mean = np.full_like(few, few.mean())
    assert loss("nrmse", few, mean) == pytest.approx(1.0)
    assert (
        make_metric("nrmse")
        .measure([{"y": y[:25]}, {"y": y[25:]}], [{"y": y[:25]}, {"y": y[25:]}])
        .value
        == 0
    )
    ragged = [{"y": y[:9]}, {"y": y[:, :2]}]
    middle = float(np.mean(np.concatenate([run["y"].ravel() for run in ragged])))
    flat = [{"y": np.full_like(run["y"], middle)} for run in ragged]
    assert make_metric("nrmse").measure(ragged, flat).value == pytest.approx(1.0)
