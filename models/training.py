"""What the training scripts share: a seeded training loop and the export to ONNX."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import digits
import onnx
import torch
from torch import Tensor, nn

HERE = Path(__file__).parent
BATCH = 64


def images_and_labels() -> tuple[Tensor, Tensor]:
    """Return the training images, float32 (1437, 1, 8, 8), and labels, int64 (1437,)."""
    x_train, y_train, _, _ = digits.split()
    return torch.from_numpy(x_train), torch.from_numpy(y_train)


def augment(images: Tensor) -> Tensor:
    """Return the batch with every image shifted by up to one pixel each way, and a little noise."""
    padded = nn.functional.pad(images, (1, 1, 1, 1))
    rows = torch.randint(0, 3, (len(images), 1)) + torch.arange(8)
    columns = torch.randint(0, 3, (len(images), 1)) + torch.arange(8)
    shifted = padded[torch.arange(len(images))[:, None, None], 0, rows[:, :, None], columns[:, None, :]]
    return (shifted + 0.03 * torch.randn_like(shifted)).clamp(0, 1)[:, None]


def fit(
    model: nn.Module,
    loss_of: Callable[[nn.Module, Tensor, Tensor], Tensor],
    n_epochs: int,
    learning_rate: float = 2e-3,
) -> None:
    """Train in place with AdamW and a cosine schedule; leaves the model in evaluation mode.

    Args:
        model: takes float32 (batch, 1, 8, 8).
        loss_of: (model, augmented images, labels) -> scalar loss.
        n_epochs: passes over the 1,437 training images.
        learning_rate: the peak; it falls to zero along a half cosine.
    """
    images, labels = images_and_labels()
    optimizer = torch.optim.AdamW(model.parameters(), learning_rate, weight_decay=0.02)
    n_steps = n_epochs * math.ceil(len(images) / BATCH)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, n_steps)
    model.train()
    for _ in range(n_epochs):
        for index in torch.randperm(len(images)).split(BATCH):
            optimizer.zero_grad()
            loss_of(model, augment(images[index]), labels[index]).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
    model.eval()


def classification_loss(model: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    """Return the cross entropy with light label smoothing."""
    return nn.functional.cross_entropy(model(images), labels, label_smoothing=0.05)


def export(model: nn.Module, name: str, output: str, opset: int, keep_batch_norm: bool = False) -> None:
    """Write models/<name>.onnx with input `image` (batch, 1, 8, 8) and a dynamic batch axis.

    Args:
        model: the trained network, in evaluation mode.
        name: the file's name without `.onnx`.
        output: name of the graph's output.
        opset: version of the ai.onnx operators.
        keep_batch_norm: leave BatchNormalization nodes beside the convolutions instead of folding them.
    """
    mode = torch.onnx.TrainingMode.PRESERVE if keep_batch_norm else torch.onnx.TrainingMode.EVAL
    path = HERE / f"{name}.onnx"
    torch.onnx.export(
        model,
        (torch.zeros(2, 1, 8, 8),),
        str(path),
        input_names=["image"],
        output_names=[output],
        dynamic_axes={"image": {0: "batch"}, output: {0: "batch"}},
        opset_version=opset,
        training=mode,
        dynamo=False,
    )
    proto = onnx.load(path)
    proto.doc_string = f"Trained by models/train_{name}.py on scikit-learn's digits"
    onnx.checker.check_model(proto, full_check=True)
    onnx.save(proto, path)
