"""The search over settings: one after the other is varied, around the best of those before it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from models.clothing.images import FINEST_STEP, coded_bytes, truncate
from models.clothing.pictures import Pictures
from models.clothing.train import accuracy, fit
from models.clothing.trials import AUGMENTATIONS, FEATURES, Setting, Trial

N_PICTURES = 10_000
N_EPOCHS = 6
"""A search trains on fewer images, and shorter, than what is kept: half a minute a trial on one core."""
SLACK = 0.01
"""Validation accuracy that fewer bytes, for images or the network, may cost: a point, a choice of this
application (half a point would keep 20 x 20 coefficients), and far more than seeds make of it (`seed` in
search.csv). Augmentation may cost as much: it pays where training is longer than a trial's."""
START = Setting("picture", 14, 3e-3, (16, 32, 48), "mirror", FINEST_STEP)
RATES = (1e-3, 3e-3, 1e-2, 3e-2)
WIDTHS = ((8, 16, 24), (16, 32, 48), (24, 48, 72))
STEPS = (2, 1, 1 / 2, 1 / 4, FINEST_STEP)
KEPT = (4, 6, 8, 10, 12, 14, 20, 28)
SEEDS = (0, 1, 2)


class Search:
    """Trains each setting once, and keeps all trials."""

    def __init__(self, training: Pictures, validation: Pictures) -> None:
        """Take what is trained on, and what is judged on."""
        self.training, self.validation, self.trials = training[:N_PICTURES], validation, list[Trial]()

    def run(self) -> list[Trial]:
        """Return all trials in order, those chosen marked; the last of these has the best setting."""
        best = START
        both = [replace(best, features=name, learning_rate=rate) for name in FEATURES for rate in RATES]
        best = self._choose("features, learning rate", both)
        kinds = [replace(best, augmentation=kind) for kind in AUGMENTATIONS]
        best = self._choose(
            "augmentation", kinds, lambda t: -AUGMENTATIONS.index(t.setting.augmentation)
        )
        networks = [replace(best, widths=widths) for widths in WIDTHS]
        best = self._choose("widths", networks, lambda trial: trial.n_parameters)
        self.trials += [self._trial("seed", best, seed) for seed in SEEDS]
        best = self._choose("step", [replace(best, step=step) for step in STEPS], _image_bytes)
        self._choose("coefficients", [replace(best, n_kept=n_kept) for n_kept in KEPT], _image_bytes)
        return self.trials

    def _choose(
        self, varied: str, settings: list[Setting], cost: Callable[[Trial], float] | None = None
    ) -> Setting:
        """Return the setting of the best accuracy, or with a cost the cheapest within SLACK of that."""
        trials = [self._trial(varied, setting) for setting in settings]
        chosen = max(trials, key=lambda trial: trial.accuracy)
        if cost is not None:
            good = [trial for trial in trials if trial.accuracy >= chosen.accuracy - SLACK]
            chosen = min(good, key=cost)
        self.trials += [replace(trial, is_chosen=trial is chosen) for trial in trials]
        return chosen.setting

    def _trial(self, varied: str, setting: Setting, seed: int = 0) -> Trial:
        known = [trial for trial in self.trials if (trial.setting, trial.seed) == (setting, seed)]
        trial = known[0] if known else self._train(setting, seed)
        print(f"{varied}: {setting} seed {seed}: {100 * trial.accuracy:.2f} %", flush=True)
        return replace(trial, varied=varied, is_chosen=False)

    def _train(self, setting: Setting, seed: int) -> Trial:
        model = fit(setting, self.training, N_EPOCHS, seed)
        return Trial(
            varied="",
            setting=setting,
            seed=seed,
            n_parameters=sum(parameter.numel() for parameter in model.parameters()),
            image_bytes=coded_bytes(truncate(self.validation.pixels, setting.n_kept, setting.step)),
            accuracy=accuracy(model, setting, self.validation),
        )


def _augmentation(trial: Trial) -> float:
    """Return less for more of it."""
    return -AUGMENTATIONS.index(trial.setting.augmentation)


def _image_bytes(trial: Trial) -> float:
    return trial.image_bytes
