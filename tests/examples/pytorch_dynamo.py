"""PyTorch's present exporter: export, compress, and let the DataLoader that validates also calibrate.

python pytorch_dynamo.py OUT.onnx
"""

from __future__ import annotations

import sys

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import onnxzip


def trained() -> tuple[nn.Module, DataLoader[tuple[torch.Tensor, ...]]]:
    """Return a model and a loader of (images, labels). Yours stand here."""
    torch.manual_seed(0)
    data = load_digits()
    images, labels = torch.tensor(data.images[:, None] / 16).float(), torch.tensor(data.target)
    model = nn.Sequential(
        *(nn.Conv2d(1, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(32, 64, 3, padding=1), nn.ReLU(), nn.Flatten()),
        *(nn.Linear(64 * 4 * 4, 64), nn.ReLU(), nn.Linear(64, 10)),
    )
    loader = DataLoader(TensorDataset(images, labels), batch_size=64, shuffle=True)
    optimizer = torch.optim.Adam(model.parameters(), 2e-3)
    for _ in range(5):
        for x, y in loader:
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(x), y).backward()
            optimizer.step()
    return model.eval(), DataLoader(TensorDataset(images[:512], labels[:512]), batch_size=64)


def main() -> None:
    """Export, and compress what was exported: no file between the two is needed."""
    model, loader = trained()
    program = torch.onnx.export(
        model,
        (torch.zeros(2, 1, 8, 8),),
        input_names=["image"],
        dynamic_shapes=({0: torch.export.Dim("batch")},),
        dynamo=True,
    )
    result = onnxzip.compress(program, sys.argv[1], calibration=loader, overwrite=True)
    print(f"{result.report.bytes_before:,} -> {result.report.bytes_after:,} bytes")


if __name__ == "__main__":
    main()
