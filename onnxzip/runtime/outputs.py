"""The arrays inside what a model answers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TypeAlias

import numpy as np

from onnxzip.records.aliases import Array

Outputs: TypeAlias = dict[str, Array]
RunValue: TypeAlias = (
    "Array | Sequence[RunValue] | Mapping[str | int, RunValue] | float | int | str | None"
)


def flatten(name: str, value: RunValue) -> Iterator[tuple[str, Array]]:
    """Yield the arrays inside an output value.

    A sequence of equal maps such as scikit-learn's ZipMap gives one array (n, n_keys), keys sorted;
    a sequence of tensors one array per element, "name[0]"; a map one per key, "name[key]"; an absent
    optional nothing.
    """
    if value is None:
        return
    if isinstance(value, Mapping):
        for key in sorted(value, key=str):
            yield from flatten(f"{name}[{key}]", value[key])
    elif isinstance(value, list | tuple):
        keys = [sorted(item, key=str) for item in value if isinstance(item, Mapping)]
        if keys and len(keys) == len(value) and all(k == keys[0] for k in keys):
            yield name, np.asarray([[item[k] for k in keys[0]] for item in value])
        else:
            for index, item in enumerate(value):
                yield from flatten(f"{name}[{index}]", item)
    else:
        yield name, np.asarray(value)
