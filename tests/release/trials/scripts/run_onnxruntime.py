"""onnxruntime; told `unfolded`, without constant folding: every decode node then runs each time."""

import onnxruntime as ort
from kit import main


def open_session(path, disabled=()):
    options = ort.SessionOptions()
    options.log_severity_level = 4
    return ort.InferenceSession(
        path, options, providers=["CPUExecutionProvider"], disabled_optimizers=list(disabled)
    )


def load(model, feeds, arguments):
    session = open_session(model, ["ConstantFolding"] if arguments == ["unfolded"] else [])
    return lambda feeds: session.run(None, feeds), {}


if __name__ == "__main__":
    main(load, ort.__version__)
