"""Train networks on truncated DCT coefficients: augmentation, one training, its accuracy, its export."""

from __future__ import annotations

import io
from collections import Counter

import numpy as np
import onnx
import torch
from torch import Tensor, nn

from models.clothing.images import MIDDLE, N_PIXELS
from models.clothing.network import network
from models.clothing.pictures import Pictures
from models.clothing.trials import AUGMENTATIONS, Setting
from onnxzip.transforms.dct import dct_matrix

BATCH = 128
MAX_SHIFT = 2
"""Pixels that an image is moved by at most, each way."""
PATCH = 8
"""Rows and columns of pixels that are erased."""
OPSET = 17
PARTS = {"Conv": "conv", "Gemm": "dense", "MatMul": "features", "Mul": "features"}
"""What the weights of an operator are called."""


def analyse(pixels: Tensor, n_kept: int, step: float) -> Tensor:
    """Return quantised coefficients, float32 (batch, 1, k, k); `images.truncate` in torch.

    Args:
        pixels: float32 (batch, n, n), 0 ... 1.
        n_kept: k.
        step: of the quantiser.
    """
    basis = torch.from_numpy(dct_matrix(pixels.shape[-1])[:n_kept].astype(np.float32))
    return (torch.round(basis @ (pixels - MIDDLE) @ basis.T / step) * step)[:, None]


def augment(pixels: Tensor, kind: str) -> Tensor:
    """Return the batch (batch, n, n) changed at random, before it is transformed.

    Args:
        pixels: float32, 0 ... 1; 0 is the background.
        kind: one of AUGMENTATIONS.
    """
    rank, here = AUGMENTATIONS.index(kind), torch.arange(N_PIXELS)
    if rank >= 1:
        pixels = torch.where(torch.rand(len(pixels), 1, 1) < 0.5, pixels, pixels.flip(2))
    if rank >= 2:
        padded = nn.functional.pad(pixels, (MAX_SHIFT,) * 4)
        rows, columns = torch.randint(0, 2 * MAX_SHIFT + 1, (2, len(pixels), 1)) + here
        pixels = padded[torch.arange(len(pixels))[:, None, None], rows[:, :, None], columns[:, None, :]]
    if rank >= 3:
        top, left = torch.randint(1 - PATCH, N_PIXELS, (2, len(pixels), 1))
        rows, columns = ((here >= start) & (here < start + PATCH) for start in (top, left))
        is_erased = torch.rand(len(pixels), 1, 1) < 0.5
        pixels = pixels.masked_fill(rows[:, :, None] & columns[:, None, :] & is_erased, 0)
    return pixels


def fit(setting: Setting, pictures: Pictures, n_epochs: int, seed: int) -> nn.Sequential:
    """Return a network trained from random weights, in evaluation mode.

    Args:
        setting: see `Setting`.
        pictures: to train on.
        n_epochs: passes over the images.
        seed: of weights, order, augmentation and dropout.
    """
    torch.manual_seed(seed)
    images, targets = _tensors(pictures)
    spread = analyse(images, setting.n_kept, setting.step).std(dim=(0, 1)) + setting.step
    model = network(setting, spread)
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, setting.learning_rate, weight_decay=0.02)
    n_steps = n_epochs * -(-len(images) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, setting.learning_rate, n_steps)
    model.train()
    for _ in range(n_epochs):
        for index in torch.randperm(len(images)).split(BATCH):
            seen = analyse(augment(images[index], setting.augmentation), setting.n_kept, setting.step)
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(seen), targets[index], label_smoothing=0.05)
            loss.backward()
            optimizer.step()
            schedule.step()
    return model.eval()


def accuracy(model: nn.Module, setting: Setting, pictures: Pictures) -> float:
    """Return the share of pictures that the network names rightly."""
    images, targets = _tensors(pictures)
    with torch.no_grad():
        parts = analyse(images, setting.n_kept, setting.step).split(1000)
        answers = torch.cat([model(part).argmax(1) for part in parts])
    return float((answers == targets).float().mean())


def _tensors(pictures: Pictures) -> tuple[Tensor, Tensor]:
    """Return pixels, float32 (images, 28, 28), 0 ... 1, and classes, int64 (images,)."""
    return torch.from_numpy(pictures.pixels).float() / 255, torch.from_numpy(pictures.labels).long()


def export(model: nn.Sequential, n_kept: int) -> onnx.ModelProto:
    """Return the network as ONNX: `coefficients` (batch, 1, k, k) -> `logits`, batch norms folded."""
    stream = io.BytesIO()
    torch.onnx.export(
        model,
        (torch.zeros(2, 1, n_kept, n_kept),),
        stream,
        input_names=["coefficients"],
        output_names=["logits"],
        dynamic_axes={"coefficients": {0: "batch"}, "logits": {0: "batch"}},
        opset_version=OPSET,
        dynamo=False,
    )
    proto = onnx.load_from_string(stream.getvalue())
    proto.doc_string = "Trained by `python -m models.clothing train` on Fashion-MNIST"
    _name_weights(proto)
    onnx.checker.check_model(proto, full_check=True)
    return proto


def _name_weights(proto: onnx.ModelProto) -> None:
    """Call weights conv1.weight, conv1.bias, ..., instead of by the exporter's numbers."""
    constants = {tensor.name: tensor for tensor in proto.graph.initializer}
    numbers: Counter[str] = Counter()
    for node in proto.graph.node:
        held = [index for index, name in enumerate(node.input) if name in constants]
        part = PARTS.get(node.op_type, node.op_type.lower())
        numbers[part] += bool(held)
        for index, kind in zip(held, ("weight", "bias"), strict=False):
            constants[node.input[index]].name = name = f"{part}{numbers[part]}.{kind}"
            node.input[index] = name
