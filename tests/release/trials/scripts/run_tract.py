"""tract, which wants all shapes before it loads."""

import importlib.metadata

import tract
from kit import main

KINDS = {"float32": "f32", "int64": "i64"}


def load(model, feeds, arguments):
    inferred = tract.onnx().load(model)
    names = [inferred.input_name(i) for i in range(inferred.input_count())]
    for i, name in enumerate(names):
        shape = map(str, feeds[name].shape)
        inferred.set_input_fact(i, ",".join((*shape, KINDS[str(feeds[name].dtype)])))
    runnable = inferred.into_model().into_runnable()
    return lambda feeds: [x.to_numpy() for x in runnable.run([feeds[name] for name in names])], {}


if __name__ == "__main__":
    main(load, importlib.metadata.version("tract"))
