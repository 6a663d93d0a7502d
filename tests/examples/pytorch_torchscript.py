"""PyTorch's older exporter (TorchScript): export to a file, and compress that with a DataLoader.

python pytorch_torchscript.py OUT.onnx
"""

from __future__ import annotations

import sys
from pathlib import Path

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
    """Export to a file, and compress it; a point of accuracy may be lost, by the loader's labels."""
    model, loader = trained()
    small = Path(sys.argv[1])
    exported = small.with_name("exported.onnx")
    torch.onnx.export(
        model,
        (torch.zeros(2, 1, 8, 8),),
        exported,
        input_names=["image"],
        dynamic_axes={"image": {0: "batch"}},
        dynamo=False,
    )
    onnxzip.compress(exported, small, calibration=loader, metric="top1", tolerance=0.01, overwrite=True)
    print(f"{exported.stat().st_size:,} -> {small.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
