"""The network: features of truncated DCT coefficients, convolutions, pooling, fully connected layers."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from models.clothing.images import thumbnail_basis
from models.clothing.trials import Setting

N_CLASSES = 10


class Scaled(nn.Module):
    """Coefficients, each frequency divided by its spread over the training images."""

    def __init__(self, spread: Tensor) -> None:
        """Take the spread, (k, k)."""
        super().__init__()
        self.factor = nn.Parameter(1 / spread, requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return (batch, 1, k, k) from the same shape."""
        return x * self.factor


class Synthesis(nn.Module):
    """L^T X R: the inverse DCT, or what becomes of it when it is trained."""

    def __init__(self, n_kept: int, is_learned: bool) -> None:
        """Start at the inverse DCT of n_kept x n_kept coefficients."""
        super().__init__()
        basis = torch.from_numpy(thumbnail_basis(n_kept))
        self.rows = nn.Parameter(basis.T.clone(), requires_grad=is_learned)
        self.columns = nn.Parameter(basis.clone(), requires_grad=is_learned)

    def forward(self, x: Tensor) -> Tensor:
        """Return (batch, 1, k, k) from the same shape."""
        return self.rows @ x @ self.columns


def convolution(n_in: int, n_out: int) -> nn.Sequential:
    """Return a 3x3 convolution with batch norm and ReLU; the bias is the batch norm's."""
    return nn.Sequential(
        nn.Conv2d(n_in, n_out, 3, padding=1, bias=False), nn.BatchNorm2d(n_out), nn.ReLU()
    )


def network(setting: Setting, spread: Tensor) -> nn.Sequential:
    """Return the untrained network, (batch, 1, k, k) coefficients -> (batch, 10) logits.

    Args:
        setting: see `Setting`.
        spread: (k, k), of each coefficient over the training images.
    """
    first, second, third = setting.widths
    features = (
        Scaled(spread)
        if setting.features == "coefficients"
        else Synthesis(setting.n_kept, is_learned=setting.features == "learned")
    )
    n_left = -(-setting.n_kept // 4)  # after two poolings that round up
    return nn.Sequential(
        features,
        convolution(1, first),
        nn.MaxPool2d(2, ceil_mode=True),
        convolution(first, second),
        convolution(second, third),
        nn.MaxPool2d(2, ceil_mode=True),
        nn.Flatten(),
        nn.Linear(third * n_left * n_left, third),
        nn.ReLU(),
        nn.Dropout(0.2),
        nn.Linear(third, N_CLASSES),
    )
