"""Train and export digits_gru.onnx: a bidirectional GRU that reads the eight rows as a sequence."""

from __future__ import annotations

import torch
import training
from torch import Tensor, nn

N_HIDDEN = 128


class RowReader(nn.Module):
    """Rows -> bidirectional GRU -> mean over the rows -> logits."""

    def __init__(self) -> None:
        """Create the layers."""
        super().__init__()
        self.gru = nn.GRU(8, N_HIDDEN, batch_first=True, bidirectional=True)
        self.head = nn.Linear(2 * N_HIDDEN, 10)

    def forward(self, image: Tensor) -> Tensor:
        """Return logits (batch, 10) of images (batch, 1, 8, 8)."""
        states, _ = self.gru(image.squeeze(1))
        return self.head(states.mean(1))


def main() -> None:
    """Train with a fixed seed and write the file."""
    torch.manual_seed(0)
    model = RowReader()
    training.fit(model, training.classification_loss, n_epochs=60, learning_rate=4e-3)
    training.export(model, "digits_gru", "logits", opset=17)


if __name__ == "__main__":
    main()
