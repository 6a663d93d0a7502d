"""Train and export digits_cnn.onnx: Conv + BatchNormalization + pooling + fully connected."""

from __future__ import annotations

import torch
import training
from torch import nn


def convolution(n_in: int, n_out: int) -> nn.Sequential:
    """Return a 3x3 convolution with batch norm and ReLU; the bias is the batch norm's."""
    return nn.Sequential(
        nn.Conv2d(n_in, n_out, 3, padding=1, bias=False), nn.BatchNorm2d(n_out), nn.ReLU()
    )


def network() -> nn.Module:
    """Return the untrained network, (batch, 1, 8, 8) -> (batch, 10) logits."""
    return nn.Sequential(
        convolution(1, 32),
        convolution(32, 64),
        nn.MaxPool2d(2),
        convolution(64, 96),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(96 * 2 * 2, 128),
        nn.ReLU(),
        nn.Linear(128, 10),
    )


def main() -> None:
    """Train with a fixed seed and write the file."""
    torch.manual_seed(0)
    model = network()
    training.fit(model, training.classification_loss, n_epochs=30)
    training.export(model, "digits_cnn", "logits", opset=17, keep_batch_norm=True)


if __name__ == "__main__":
    main()
