"""The search, three trainings of what it chose, and the files beside the scripts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import torch

from models.clothing import archive
from models.clothing.comparison import compress, logits
from models.clothing.images import network_input, truncate
from models.clothing.pictures import Pictures, read_installed
from models.clothing.search import Search
from models.clothing.train import export, fit
from models.clothing.trials import (
    Setting,
    Training,
    chosen,
    read_trials,
    write_trainings,
    write_trials,
)

N_EPOCHS = 8
SEEDS = (0, 1, 2)
"""The network of the first one is kept, whichever does best."""


def train(folder: Path, *, with_search: bool) -> None:
    """Write all files beside the scripts but the page and its figures.

    Args:
        folder: with the data set, see `pictures.read_installed`.
        with_search: search anew, else train what search.csv says was chosen.
    """
    torch.set_num_threads(1)  # as many threads as there are add up in as many orders
    training, validation, test = read_installed(folder)
    if with_search:
        write_trials(archive.SEARCH, Search(training, validation).run())
    setting = chosen(read_trials(archive.SEARCH))
    archive.write(training, test, setting.n_kept, setting.step)
    write_trainings(archive.TRAININGS, list(_trainings(setting, training, test)))


def _trainings(setting: Setting, training: Pictures, test: Pictures) -> Iterator[Training]:
    """Train once a seed, and compress; the first network is written."""
    inputs = network_input(truncate(test.pixels, setting.n_kept, setting.step), setting.step)
    for seed in SEEDS:
        proto = export(fit(setting, training, N_EPOCHS, seed), setting.n_kept)
        if seed == SEEDS[0]:
            onnx.save(proto, archive.NETWORK)
        files = [proto.SerializeToString(), compress(proto)[0]]
        right = [float(np.mean(logits(file, inputs).argmax(1) == test.labels)) for file in files]
        row = Training(seed, len(files[0]), len(files[1]), *right)
        print(row, flush=True)
        yield row
