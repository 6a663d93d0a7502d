"""onnx's own reference evaluator, after its full checker (with shape inference, strictly)."""

import onnx
from kit import main
from onnx.reference import ReferenceEvaluator


def load(model, feeds, arguments):
    onnx.checker.check_model(model, full_check=True)
    evaluator = ReferenceEvaluator(str(model))
    return lambda feeds: evaluator.run(None, feeds), {}


if __name__ == "__main__":
    main(load, onnx.__version__)
