"""What the coefficient coder costs: bytes over entropy, time and memory of session creation.

python -m pytest tests/bench/test_coder.py -m bench -s
"""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import onnx
import pytest

from onnxzip.codec.coding.encoder import encode
from onnxzip.comparison.costs import cost_of_loading
from onnxzip.runtime.apart import Limits
from tests.codec.coding.decoder import decode
from tests.codec.coding.model_builder import ModelBuilder, build_model, wrap
from tests.codec.coding.test_prefix import assert_same, entropy_bits

pytestmark = pytest.mark.bench

DATA = Path(__file__).parents[3] / "shared" / "data"
N_WEIGHTS = 1 << 24
SHAPE = (4096, 4096)
LOAD_STEPS = (0.7, 1.0, 1.5)


def synthesize(kind: str, step: float) -> np.ndarray:
    """Weights of unit variance divided by a step and rounded."""
    random = np.random.default_rng(0)
    if kind == "gauss":
        values = random.standard_normal(SHAPE, dtype=np.float32)
    else:
        values = random.laplace(0, 2**-0.5, SHAPE).astype(np.float32)
    return np.rint(values / np.float32(step)).astype(np.int32)


def round_weights(name: str) -> list[np.ndarray]:
    """Weights of a model divided by 0.7 of each layer's rms and rounded; a filter is a segment."""
    arrays = []
    for tensor in onnx.load(DATA / f"{name}.onnx").graph.initializer:
        weight = onnx.numpy_helper.to_array(tensor)
        if weight.ndim >= 2 and weight.dtype == np.float32:
            step = 0.7 * np.sqrt(np.mean(weight**2))
            arrays.append(np.rint(weight / step).astype(np.int32).reshape(len(weight), -1))
    return arrays


def n_decoder_bytes(model: onnx.ModelProto) -> int:
    """Size of all but the nodes that stand for the model and its outputs."""
    outputs = {output.name for output in model.graph.output}
    rest = [
        *model.graph.output,
        *model.graph.input,
        *(n for n in model.graph.node if n.output[0] in outputs),
    ]
    return model.ByteSize() - sum(part.ByteSize() + 3 for part in rest)


@pytest.mark.parametrize("kind", ["gauss", "laplace"])
@pytest.mark.parametrize("step", [0.5, 0.7, 1.0, 1.5, 2.0])
def test_bytes_over_entropy_of_synthetic_weights(kind: str, step: float) -> None:
    array = synthesize(kind, step)
    begin = time.process_time()
    streams = encode([array])
    seconds = time.process_time() - begin
    assert_same([array], decode(streams))
    n_bits = entropy_bits([array])
    ratio = n_decoder_bytes(build_model(streams)) * 8 / n_bits
    rate = array.size / seconds / 1e6
    print(f"\n{kind:8} step {step}: {n_bits / array.size:.3f} bits, x{ratio:.4f}, {rate:.1f}M weights/s")
    assert ratio <= 1.03


@pytest.mark.parametrize(("name", "limit"), [("resnet20", 1.10), ("resnet44", 1.05)])
def test_bytes_over_entropy_of_real_weights(name: str, limit: float) -> None:
    if not (DATA / f"{name}.onnx").exists():
        pytest.skip(f"needs {DATA / name}.onnx")
    arrays = round_weights(name)
    streams = encode(arrays)
    n_bits = entropy_bits(arrays)
    ratios = [n_decoder_bytes(build_model(streams, is_flat=flat)) * 8 / n_bits for flat in (False, True)]
    print(
        f"\n{name}: {n_bits / 8:.0f} bytes of entropy, x{ratios[0]:.4f}, flat outputs x{ratios[1]:.4f}"
    )
    assert ratios[0] <= limit


@pytest.mark.parametrize("kind", ["gauss", "laplace"])
@pytest.mark.parametrize("step", LOAD_STEPS)
def test_time_and_memory_of_session_creation(kind: str, step: float, tmp_path: Path) -> None:
    array = synthesize(kind, step)
    coded, plain = tmp_path / "coded.onnx", tmp_path / "plain.onnx"
    onnx.save(build_model(encode([array])), coded)
    builder = ModelBuilder(17)
    name = builder.constant(array.astype(np.float32))
    onnx.save(wrap(builder, [name], [SHAPE], ()), plain)
    before, after = (cost_of_loading(path, Limits(cpu_s=3600)) for path in (plain, coded))
    extra_time = (after.cpu_s - before.cpu_s) / N_WEIGHTS * 1e9
    extra_bytes = ((after.n_bytes or 0) - (before.n_bytes or 0)) / N_WEIGHTS
    print(
        f"\n{kind:8} step {step}: {extra_time:.0f} ns and {extra_bytes:.1f} bytes a weight above plain"
    )
