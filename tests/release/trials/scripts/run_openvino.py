"""OpenVINO on the CPU; ARGUMENTS are settings, as NAME=VALUE."""

import numpy as np
import openvino
from kit import main


def load(model, feeds, arguments):
    settings = dict(argument.split("=") for argument in arguments)
    compiled = openvino.Core().compile_model(model, "CPU", settings)
    return lambda feeds: [np.array(array) for array in compiled(feeds).values()], {}


if __name__ == "__main__":
    main(load, openvino.__version__.split("-")[0])
