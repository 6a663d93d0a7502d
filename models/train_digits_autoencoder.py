"""Train and export digits_autoencoder.onnx: convolutions, a code of 24 numbers, ConvTranspose."""

from __future__ import annotations

import torch
import training
from torch import Tensor, nn

N_CODE = 24


class Planes(nn.Module):
    """Vectors of 256 numbers as 64 planes of 2x2."""

    def forward(self, x: Tensor) -> Tensor:
        """Return (batch, 64, 2, 2) from (batch, 256)."""
        return x.reshape(-1, 64, 2, 2)


def network() -> nn.Module:
    """Return the untrained network, (batch, 1, 8, 8) -> 24 numbers -> (batch, 1, 8, 8)."""
    return nn.Sequential(
        nn.Conv2d(1, 32, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.Conv2d(32, 64, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(64 * 2 * 2, N_CODE),
        nn.Linear(N_CODE, 64 * 2 * 2),
        nn.ReLU(),
        Planes(),
        nn.ConvTranspose2d(64, 48, 4, stride=2, padding=1),
        nn.ReLU(),
        nn.ConvTranspose2d(48, 32, 4, stride=2, padding=1),
        nn.ReLU(),
        nn.Conv2d(32, 1, 3, padding=1),
        nn.Sigmoid(),
    )


def reconstruction_loss(model: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    """Return the mean squared error of the reconstruction; the labels are not used."""
    return nn.functional.mse_loss(model(images), images)


def main() -> None:
    """Train with a fixed seed and write the file."""
    torch.manual_seed(0)
    model = network()
    training.fit(model, reconstruction_loss, n_epochs=60)
    training.export(model, "digits_autoencoder", "reconstruction", opset=13)


if __name__ == "__main__":
    main()
