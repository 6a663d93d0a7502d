"""What the page says: tables, figures and the sentences between them, from what was measured."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import mean, stdev

import numpy as np
from PIL import Image

import onnxzip
from models.clothing import archive, comparison, figures
from models.clothing.comparison import ALL, ORIGINAL, Outcome, accuracy
from models.clothing.images import N_PIXELS, coded_bytes
from models.clothing.page import figure, table
from models.clothing.trials import Setting, Trial, chosen, read_trainings, read_trials
from onnxzip.report.record import LayerReport

KEPT = (2, 3, 4, 5, 6, 7, 8, 10, 12, 14, 16, 20, 24, 28)
"""Coefficients shown to the network, a side, as far as it takes so many."""

_FEATURES = {
    "coefficients": "the coefficients, each scaled to the same spread",
    "picture": "the inverse DCT of so many pixels as there are coefficients",
    "learned": "a matrix on either side of the coefficients, the inverse DCT at first, trained on",
}


def contents(outcomes: Mapping[str, Outcome], over_seeds: Sequence[Outcome], folder: Path) -> str:
    """Return the page's section, and write its figures into a folder.

    Args:
        outcomes: by name: the original first, and the rows that were made.
        over_seeds: the row ALL, compressed with each of comparison.SEEDS; may be empty.
        folder: for the figures.
    """
    trials = read_trials(archive.SEARCH)
    parts = [*_images(folder), *_rates(trials, outcomes[ORIGINAL], folder), *_search(trials)]
    parts += _network(trials, outcomes, folder)
    parts += _stability(over_seeds) if over_seeds else ()
    return "\n\n".join(parts)


def _images(folder: Path) -> Iterator[str]:
    test = archive.read_test()
    k = test.n_kept
    yield "### Images as truncated DCT coefficients"
    yield (
        f"Of the {N_PIXELS} x {N_PIXELS} DCT coefficients of an image the {k} x {k} of the lowest\n"
        f"frequencies are kept, in steps of {test.step:g} of the range of pixels:\n"
        f"{k * k} bytes an image instead of {N_PIXELS**2}, {coded_bytes(test.steps):.0f} when all test\n"
        "images are entropy coded (`xz -9`). The network is fed the coefficients; as pictures they are:"
    )
    text = "Ten pictures, one of each class, and what fewer and fewer coefficients leave of them"
    yield _drawn(folder / "seen.png", text, figures.seen(k))


def _rates(trials: Sequence[Trial], network: Outcome, folder: Path) -> Iterator[str]:
    steps = archive.read_test().steps
    trained = {trial.setting.n_kept: trial for trial in trials if trial.varied == "coefficients"}
    coded = {k: trial.image_bytes for k, trial in trained.items()}
    shown = {k: comparison.right(network.model, k) for k in KEPT if k <= steps.shape[-1]}
    coded |= {k: coded_bytes(steps[:, :k, :k]) for k in shown}
    yield (
        "What coefficients are worth: networks trained on so many (those of the search below: few\n"
        "images, short), and the network that was kept, with coefficients that it is not shown set to 0."
    )
    lines = {
        "trained on so many (validation)": [(coded[k], 100 * t.accuracy) for k, t in trained.items()],
        "the network kept, shown so many (test)": [
            (coded[k], 100 * share) for k, share in shown.items()
        ],
    }
    text = "Accuracy against bytes for an image"
    yield _drawn(folder / "rate.svg", text, figures.curve(text, "bytes, entropy coded", lines))
    head = [
        "coefficients",
        "bytes",
        "entropy coded",
        "trained on so many",
        "the network kept, shown so many",
    ]
    rows = [
        [
            f"{k} x {k}",
            f"{k * k}",
            f"{coded[k]:.0f}",
            _percent(trained[k].accuracy) if k in trained else "",
            _percent(shown[k]) if k in shown else "",
        ]
        for k in sorted(coded)
    ]
    yield table(head, rows)


def _search(trials: Sequence[Trial]) -> Iterator[str]:
    spread = stdev(trial.accuracy for trial in trials if trial.varied == "seed")
    yield "### The search"
    yield (
        "One setting after the other, around the best of those before it: 10,000 images to train on,\n"
        "six epochs, judged on 5,000 others. Features and rate are the best; of the rest the most\n"
        "augmentation, the smallest network and the fewest bytes for an image are taken that lose\n"
        f"a point at most. Over seeds the standard deviation is {100 * spread:.2f} points."
        " All trials: `clothing/search.csv`."
    )
    rows = []
    for varied in dict.fromkeys(trial.varied for trial in trials):
        cells = [_trial(trial) for trial in trials if trial.varied == varied]
        rows.append([varied, "; ".join(cells)])
    yield table(["varied", "right, % of the validation images (bold: chosen)"], rows)


def _trial(trial: Trial) -> str:
    text = f"{_value(trial.varied, trial.setting, trial.seed)}: {100 * trial.accuracy:.2f}"
    return f"**{text}**" if trial.is_chosen else text


def _value(varied: str, setting: Setting, seed: int) -> str:
    """Return what a trial's setting was for what was varied."""
    return {
        "features, learning rate": f"{setting.features} {setting.learning_rate:g}",
        "augmentation": setting.augmentation,
        "widths": "-".join(map(str, setting.widths)),
        "seed": str(seed),
        "step": f"{setting.step:g}",
        "coefficients": f"{setting.n_kept} x {setting.n_kept}",
    }[varied]


def _network(trials: Sequence[Trial], outcomes: Mapping[str, Outcome], folder: Path) -> Iterator[str]:
    before = outcomes[ORIGINAL]
    setting = chosen(trials)
    yield "### The network, and what compression makes of it"
    yield (
        f"Features: {_FEATURES[setting.features]};\n"
        f"then three 3 x 3 convolutions of {_value('widths', setting, 0)} channels, max pooling after\n"
        "the first and the third, and two fully connected layers."
    )
    yield (
        f"Compressed with {archive.N_CALIBRATION} training images as calibration data, judged on\n"
        f"{len(before.answers):,} test images: each pass alone (`--passes NAME`) and all, at the\n"
        "default tolerance of 0.1 nrmse; all at 0.2; all where a point of top-1 may be lost on those\n"
        "images; all with `--objective speed`. Time: that of a batch of"
        f" {comparison.BATCH} over the original's, by\n"
        f"turns on one thread; its own row shows what measuring makes of it. The standard error of an\n"
        f"accuracy is {100 * _standard_error(before):.1f} points."
    )
    rows = [
        [
            outcome.name,
            f"{len(outcome.model):,}",
            f"{len(before.model) / len(outcome.model):.1f}x",
            _percent(accuracy(outcome)),
            f"{np.count_nonzero(outcome.answers != before.answers)}",
            outcome.stated,
            f"{comparison.latency_ratio(before, outcome):.2f}",
        ]
        for outcome in outcomes.values()
    ]
    yield table(["file", "bytes", "ratio", "right", "answers changed", "stated loss", "time"], rows)
    text = "Accuracy against bytes of the file"
    yield _drawn(folder / "passes.svg", text, figures.curve(text, "kilobytes", _points(outcomes)))
    yield (
        "Bytes by part. Pooling has no weights, so that there is nothing to compress in it; small\n"
        "tensors are biases, the matrices of the features and the first convolution."
    )
    yield _parts(outcomes)
    if ALL in outcomes:
        yield (
            f"Test images, restored from their coefficients, on which `{ALL}` changes the answer, and\n"
            "others. Black: what it is; below it what the original (`<`) and the compressed network\n"
            "(`>`) say."
        )
        text = "Test images with the answers of the original and of the compressed network"
        yield _drawn(folder / "answers.png", text, figures.answered(before, outcomes[ALL]))


def _points(outcomes: Mapping[str, Outcome]) -> dict[str, list[tuple[float, float]]]:
    """Return what is drawn of each file: a dot, and for the original a line above or below all dots."""
    dots = {name: (len(o.model) / 1000, 100 * accuracy(o)) for name, o in outcomes.items()}
    _, right = dots.pop(ORIGINAL)
    line = [(x, right) for x in (0.0, max(x for x, _ in dots.values()))]
    return {ORIGINAL: line} | {name: [dot] for name, dot in dots.items()}


def _parts(outcomes: Mapping[str, Outcome]) -> str:
    """Return the table of bytes by weight."""
    weights = {weight.name: weight.bytes_before for weight in onnxzip.inspect(archive.NETWORK).weights}
    names = sorted(weights)
    columns = {"part": [*names, "pooling", "small tensors", "graph"], ORIGINAL: list[str]()}
    for name, outcome in outcomes.items():
        if (report := outcome.report) is None:
            continue
        stored = {layer.name: layer for layer in report.layers}
        plain = sum(weights[part] for part in names if part not in stored)
        before = [*(weights[part] for part in names), 0, report.small_before, report.rest_before - plain]
        after = [_stored(name, stored.get(part), weights[part]) for part in names]
        columns[ORIGINAL] = [f"{n_bytes:,}" for n_bytes in before]
        columns[name] = [*after, "0", f"{report.small_after:,}", f"{report.rest_after - plain:,}"]
    return table(list(columns), list(zip(*columns.values(), strict=True)))


def _stored(name: str, layer: LayerReport | None, bytes_before: int) -> str:
    """Return how many bytes a weight takes, and in which form where that is not the row's only pass."""
    if layer is None:
        return f"{bytes_before:,} plain"
    return f"{layer.bytes_after:,}" + ("" if layer.pass_name == name else f" {layer.pass_name}")


def _stability(over_seeds: Sequence[Outcome]) -> Iterator[str]:
    trainings = read_trainings(archive.TRAININGS)
    yield "### Stability over seeds"
    yield (
        f"The network compressed with `--seed` {', '.join(map(str, comparison.SEEDS))}; and networks\n"
        "trained from three seeds and compressed, on all 10,000 test images (written by the training,\n"
        "`clothing/trainings.csv`): mean ± standard deviation."
    )
    head = ["seeds of", "bytes", "right, original", "right, compressed", "points lost"]
    compression = [
        _spread([len(outcome.model) for outcome in over_seeds], 0),
        "",
        _spread([100 * accuracy(outcome) for outcome in over_seeds], 2),
        "",
    ]
    training = [
        _spread([training.small_bytes for training in trainings], 0),
        _spread([100 * training.accuracy for training in trainings], 2),
        _spread([100 * training.small_accuracy for training in trainings], 2),
        _spread([100 * (training.accuracy - training.small_accuracy) for training in trainings], 2),
    ]
    yield table(head, [["compression", *compression], ["training", *training]])


def _drawn(path: Path, text: str, picture: Image.Image | str) -> str:
    """Write a figure, pixels or SVG, and return its place on the page."""
    if isinstance(picture, str):
        path.write_text(picture, "utf-8")
    else:
        picture.quantize(256, dither=Image.Dither.NONE).save(path, optimize=True)
    return figure(path, text)


def _standard_error(outcome: Outcome) -> float:
    """Return that of the share of right answers: sqrt(p (1 - p) / n)."""
    share = accuracy(outcome)
    return float(np.sqrt(share * (1 - share) / len(outcome.answers)))


def _percent(share: float) -> str:
    return f"{100 * share:.2f}\N{NO-BREAK SPACE}%"


def _spread(values: Sequence[float], n_digits: int) -> str:
    return f"{mean(values):,.{n_digits}f} ± {stdev(values):,.{n_digits}f}"
