"""Train and export digits_attention.onnx: a two-layer transformer encoder over the eight rows."""

from __future__ import annotations

import torch
import training
from torch import Tensor, nn

N_MODEL = 64
N_HEADS = 4


class Block(nn.Module):
    """Pre-norm self-attention and feed-forward, written out in plain operators."""

    def __init__(self) -> None:
        """Create the layers."""
        super().__init__()
        self.norm_attention = nn.LayerNorm(N_MODEL)
        self.query_key_value = nn.Linear(N_MODEL, 3 * N_MODEL)
        self.project = nn.Linear(N_MODEL, N_MODEL)
        self.norm_feed = nn.LayerNorm(N_MODEL)
        self.feed = nn.Sequential(
            nn.Linear(N_MODEL, 2 * N_MODEL), nn.GELU(), nn.Linear(2 * N_MODEL, N_MODEL)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return (batch, rows, N_MODEL) from the same shape."""
        packed = self.query_key_value(self.norm_attention(x))
        query, key, value = packed.reshape(-1, 8, 3, N_HEADS, N_MODEL // N_HEADS).permute(2, 0, 3, 1, 4)
        scores = query @ key.transpose(-1, -2) * (N_MODEL // N_HEADS) ** -0.5
        mixed = (scores.softmax(-1) @ value).transpose(1, 2).reshape(-1, 8, N_MODEL)
        x = x + self.project(mixed)
        return x + self.feed(self.norm_feed(x))


class RowAttention(nn.Module):
    """Rows -> embedding + learned positions -> two blocks -> mean -> logits."""

    def __init__(self) -> None:
        """Create the layers."""
        super().__init__()
        self.embed = nn.Linear(8, N_MODEL)
        self.positions = nn.Parameter(0.1 * torch.randn(8, N_MODEL))
        self.blocks = nn.Sequential(Block(), Block())
        self.norm = nn.LayerNorm(N_MODEL)
        self.head = nn.Linear(N_MODEL, 10)

    def forward(self, image: Tensor) -> Tensor:
        """Return logits (batch, 10) of images (batch, 1, 8, 8)."""
        x = self.embed(image.squeeze(1)) + self.positions
        return self.head(self.norm(self.blocks(x)).mean(1))


def main() -> None:
    """Train with a fixed seed and write the file."""
    torch.manual_seed(0)
    model = RowAttention()
    training.fit(model, training.classification_loss, n_epochs=60)
    training.export(model, "digits_attention", "logits", opset=17)


if __name__ == "__main__":
    main()
