"""LSTM, GRU and RNN: weights whose only form is the stored one."""

from __future__ import annotations

from functools import partial

import onnx
from onnx import TensorProto

from tests.casebook.kit import BATCH, Draft, case, register, value

N_INPUT, N_HIDDEN = 24, 40
GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
X = value("x", ["sequence", BATCH, N_INPUT])


def _weights(draft: Draft, op_type: str, n_directions: int) -> list[str]:
    n_rows = GATES[op_type] * N_HIDDEN
    return [
        draft.weight("W", n_directions, n_rows, N_INPUT),
        draft.weight("R", n_directions, n_rows, N_HIDDEN),
        draft.weight("B", n_directions, 2 * n_rows),
    ]


def _recurrent(op_type: str, direction: str) -> onnx.ModelProto:
    draft = Draft()
    n_directions = 2 if direction == "bidirectional" else 1
    inputs = ["x", *_weights(draft, op_type, n_directions)]
    draft.add(op_type, inputs, ["y", "y_h"], hidden_size=N_HIDDEN, direction=direction)
    outputs = [
        value("y", ["sequence", n_directions, BATCH, N_HIDDEN]),
        value("y_h", [n_directions, BATCH, N_HIDDEN]),
    ]
    return draft.model([X], outputs)


for _op in GATES:
    for _direction in ("forward", "reverse", "bidirectional"):
        _n_large = 1 if _op == "RNN" and _direction != "bidirectional" else 2
        register(
            f"{_op.lower()}_{_direction}",
            partial(_recurrent, _op, _direction),
            n_weights=_n_large,
            notes="One recurrent node with W, R and B.",
        )


@case(n_weights=2, bounds={"lengths": 6})
def lstm_all_inputs() -> onnx.ModelProto:
    """LSTM with sequence lengths, an absent initial_h, an initial_c and peepholes."""
    draft = Draft()
    inputs = ["x", *_weights(draft, "LSTM", 1), "lengths", "", "c0", draft.weight("P", 1, 3 * N_HIDDEN)]
    draft.add("LSTM", inputs, ["", "", "y_c"], hidden_size=N_HIDDEN)
    lengths = value("lengths", [BATCH], TensorProto.INT32)
    state = value("c0", [1, BATCH, N_HIDDEN])
    return draft.model([X, lengths, state], [value("y_c", [1, BATCH, N_HIDDEN])])


@case(n_weights=2)
def gru_linear_before_reset() -> onnx.ModelProto:
    """GRU in the PyTorch convention, without a bias."""
    draft = Draft()
    inputs = ["x", *_weights(draft, "GRU", 1)[:2]]
    draft.initializers.pop()
    draft.add("GRU", inputs, ["", "y_h"], hidden_size=N_HIDDEN, linear_before_reset=1)
    return draft.model([X], [value("y_h", [1, BATCH, N_HIDDEN])])


@case(n_weights=2)
def lstm_behind_unsqueeze() -> onnx.ModelProto:
    """W and R come through Slice-like plumbing (Unsqueeze, Concat), as PyTorch writes them unfolded."""
    draft = Draft()
    axes = draft.tensor("axes", onnx.numpy_helper.to_array(onnx.helper.make_tensor("a", 7, [1], [0])))
    flat = [draft.weight("w", 160, N_INPUT), draft.weight("r", 160, N_HIDDEN)]
    stacked = [draft.add("Unsqueeze", [name, axes], f"{name}_3d") for name in flat]
    biases = [draft.weight("bw", 160), draft.weight("br", 160)]
    joined = draft.add("Concat", biases, "b", axis=0)
    stacked.append(draft.add("Unsqueeze", [joined, axes], "b_2d"))
    draft.add("LSTM", ["x", *stacked], ["y"], hidden_size=N_HIDDEN)
    return draft.model([X], [value("y", ["sequence", 1, BATCH, N_HIDDEN])])
