"""What the scripts of this folder share; needs numpy and nothing else, as they run anywhere.

    SCRIPT MODEL FEEDS RESULT [ARGUMENT...]

A script hands `main` a function that loads a model. RESULT is written as JSON: `version`, `load_ms`,
`first_ms` (its first answer), `run_ms` (the mean of nine more), `outputs` (a list for each of the
FEEDS; arrays have `dims` and `data`, base64 of little-endian float64), and what else the script notes;
or `finding` alone, what the runtime says where it refuses the model.
"""

import base64
import json
import sys
import time
from pathlib import Path

import numpy as np

N_MORE = 9


def main(load, version, takes_any_size=True):
    """Load a model, run it on all feeds, and write what comes out.

    Args:
        load: from the model's path, feeds by name, and the script's own arguments, to a pair of a
            function from feeds to a list of arrays, and a dict with what to note besides.
        version: the runtime's version.
        takes_any_size: whether it runs more samples than one.
    """
    model, feeds, result = map(Path, sys.argv[1:4])
    try:
        found = {"version": version, **_measure(load, model, feeds, takes_any_size)}
    except Exception as error:  # whatever a runtime raises is what it says of the model
        found = {"finding": " ".join(str(error).split()) or type(error).__name__}
    result.write_text(json.dumps(found))


def _measure(load, model, feeds_file, takes_any_size):
    written = json.loads(feeds_file.read_text())
    all_feeds = [
        {name: np.array(x["data"], x["type"]).reshape(x["dims"]) for name, x in feeds.items()}
        for feeds in (written if takes_any_size else written[:1])
    ]
    started = time.perf_counter()
    run, notes = load(model, all_feeds[0], sys.argv[4:])
    loaded = time.perf_counter()
    outputs = [_encoded(run(all_feeds[0]))]
    answered = time.perf_counter()
    for _ in range(N_MORE):
        run(all_feeds[0])
    ended = time.perf_counter()
    for feeds in all_feeds[1:]:  # some runtimes fix shapes when they load
        outputs.append(_encoded(load(model, feeds, sys.argv[4:])[0](feeds)))
    times = {
        "load_ms": (loaded - started) * 1e3,
        "first_ms": (answered - loaded) * 1e3,
        "run_ms": (ended - answered) * 1e3 / N_MORE,
    }
    return {**times, **notes, "outputs": outputs}


def _encoded(arrays):
    made = [np.ascontiguousarray(array, "<f8") for array in arrays]
    return [{"dims": a.shape, "data": base64.b64encode(a.tobytes()).decode()} for a in made]
