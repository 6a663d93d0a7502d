"""What the search varies, what it found (search.csv), and how the trainings did (trainings.csv)."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

FEATURES = ("coefficients", "picture", "learned")
AUGMENTATIONS = ("none", "mirror", "shift", "erase")
"""Nothing; every other image mirrored; that and all moved; that and a patch of every other one black."""


@dataclass(frozen=True)
class Setting:
    """What the search varies.

    Attributes:
        features: what the convolutions see: "coefficients", each frequency scaled to the same spread;
            "picture", their inverse DCT of k x k pixels; "learned", matrices of the same shape that
            start there and are trained.
        n_kept: rows and columns of DCT coefficients, k.
        learning_rate: of AdamW, the peak of one cycle.
        widths: channels of the three convolutions.
        augmentation: one of AUGMENTATIONS.
        step: of the quantiser of the coefficients.
    """

    features: str
    n_kept: int
    learning_rate: float
    widths: tuple[int, int, int]
    augmentation: str
    step: float


@dataclass(frozen=True)
class Trial:
    """A row of search.csv.

    Attributes:
        varied: the settings that the trial is one of the values of.
        setting: what was trained.
        seed: of the training.
        n_parameters: of the network.
        image_bytes: what an image takes when the coefficients kept are entropy coded.
        accuracy: share of the validation images named rightly.
        is_chosen: whether the search went on with it.
    """

    varied: str
    setting: Setting
    seed: int
    n_parameters: int
    image_bytes: float
    accuracy: float
    is_chosen: bool = False


@dataclass(frozen=True)
class Training:
    """A row of trainings.csv: a network of the setting chosen, and what compression made of it.

    Attributes:
        seed: of the training.
        n_bytes, small_bytes: of the file, before and after.
        accuracy, small_accuracy: shares of all 10,000 test images named rightly.
    """

    seed: int
    n_bytes: int
    small_bytes: int
    accuracy: float
    small_accuracy: float


def write_trials(path: Path, trials: Sequence[Trial]) -> None:
    """Write search.csv."""
    rows = [
        {"varied": trial.varied}
        | asdict(trial.setting)
        | {
            "widths": "-".join(map(str, trial.setting.widths)),
            "seed": trial.seed,
            "n_parameters": trial.n_parameters,
            "image_bytes": round(trial.image_bytes, 1),
            "accuracy": round(trial.accuracy, 4),
            "is_chosen": int(trial.is_chosen),
        }
        for trial in trials
    ]
    _write(path, rows)


def read_trials(path: Path) -> list[Trial]:
    """Return the rows of search.csv."""
    with path.open(encoding="utf-8", newline="") as file:
        return [
            Trial(
                row["varied"],
                Setting(
                    row["features"],
                    int(row["n_kept"]),
                    float(row["learning_rate"]),
                    _three(row["widths"]),
                    row["augmentation"],
                    float(row["step"]),
                ),
                int(row["seed"]),
                int(row["n_parameters"]),
                float(row["image_bytes"]),
                float(row["accuracy"]),
                row["is_chosen"] == "1",
            )
            for row in csv.DictReader(file)
        ]


def chosen(trials: Sequence[Trial]) -> Setting:
    """Return the setting that a search ended with."""
    return [trial for trial in trials if trial.is_chosen][-1].setting


def write_trainings(path: Path, trainings: Sequence[Training]) -> None:
    """Write trainings.csv."""
    _write(path, [asdict(training) for training in trainings])


def read_trainings(path: Path) -> list[Training]:
    """Return the rows of trainings.csv."""
    with path.open(encoding="utf-8", newline="") as file:
        return [
            Training(
                *(int(row[name]) for name in ("seed", "n_bytes", "small_bytes")),
                *(float(row[name]) for name in ("accuracy", "small_accuracy")),
            )
            for row in csv.DictReader(file)
        ]


def _three(text: str) -> tuple[int, int, int]:
    first, second, third = map(int, text.split("-"))
    return first, second, third


def _write(path: Path, rows: Sequence[dict[str, object]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
