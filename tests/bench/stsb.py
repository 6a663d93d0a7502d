"""Compresses a sentence transformer with calibration sentences and prints what that costs on STS-B.

    python -m tests.bench.stsb MODEL.onnx TOKENIZER.json STSB.csv SENTENCES.npz -- --tolerance 0.45
    python -m tests.bench.stsb MODEL.onnx TOKENIZER.json STSB.csv

MODEL takes input_ids, attention_mask and token_type_ids and returns token embeddings first; a sentence
is their mean. STSB.csv has two sentences and their similarity a row, and is used for nothing but the
Spearman correlation. SENTENCES.npz is the calibration data, if any. Needs the package tokenizers. What
stands behind -- goes to onnxzip.
"""

from __future__ import annotations

import csv
import resource
import sys
import tempfile
from pathlib import Path

import numpy as np
import onnxruntime as ort
from scipy.stats import spearmanr

from tests.bench.command import compress, split

MAX_TOKENS, BATCH_SIZE = 128, 32


def embed(model: Path, tokenizer_file: Path, sentences: list[str]) -> np.ndarray:
    """Return the normalised mean token embedding of each sentence, (n, width)."""
    from tokenizers import Tokenizer  # no dependency of onnxzip's

    tokenizer = Tokenizer.from_file(str(tokenizer_file))
    tokenizer.enable_truncation(MAX_TOKENS)
    tokenizer.no_padding()
    session = ort.InferenceSession(model)
    ids = [encoding.ids for encoding in tokenizer.encode_batch(sentences)]
    order = np.argsort([len(i) for i in ids], kind="stable")
    found: dict[int, np.ndarray] = {}
    for start in range(0, len(order), BATCH_SIZE):
        members = order[start : start + BATCH_SIZE]
        length = max(len(ids[i]) for i in members)
        tokens = np.zeros((len(members), length), np.int64)
        mask = np.zeros_like(tokens)
        for row, i in enumerate(members):
            tokens[row, : len(ids[i])] = ids[i]
            mask[row, : len(ids[i])] = 1
        feeds = {"input_ids": tokens, "attention_mask": mask, "token_type_ids": np.zeros_like(tokens)}
        hidden = session.run(None, feeds)[0]
        mean = (hidden * mask[..., None]).sum(axis=1) / mask.sum(axis=1, keepdims=True)
        found.update(zip(members, mean / np.linalg.norm(mean, axis=1, keepdims=True), strict=True))
    return np.stack([found[i] for i in range(len(ids))])


def correlation(model: Path, tokenizer_file: Path, rows: list[list[str]]) -> float:
    """Return the Spearman correlation of cosine similarities with the annotators' scores."""
    first, second = (embed(model, tokenizer_file, [row[i] for row in rows]) for i in (0, 1))
    return float(spearmanr((first * second).sum(axis=1), [float(row[2]) for row in rows])[0])


def main(arguments: list[str]) -> int:
    """Print one row."""
    files, options = split(arguments)
    model, tokenizer_file, table, *calibration = map(Path, files)
    with table.open(newline="", encoding="utf-8") as file:
        rows = list(csv.reader(file))
    print("| model | bytes before | bytes after | ratio | Spearman before | after | seconds | peak MB |")
    print("|---|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as work:
        output = Path(work) / "out.onnx"
        data = [word for path in calibration for word in ("-c", str(path))]
        seconds = compress(model, output, *data, *options)
        peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024 / 1e6
        before, after = model.stat().st_size, output.stat().st_size
        figures = [f"{correlation(path, tokenizer_file, rows):.4f}" for path in (model, output)]
        print(
            f"| {model.name} | {before:,} | {after:,} | {before / after:.2f}x | {' | '.join(figures)} "
            f"| {seconds:.0f} | {peak:.0f} |"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
