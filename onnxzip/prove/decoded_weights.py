"""What the runtime decodes, beside what numpy restores."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from onnxzip.errors import InputError, VerificationError
from onnxzip.graph import (
    Model,
    Round,
    count_differences,
    decoded_names,
    loadable,
    most_bytes_in_use,
    release_pages,
    share_with_disk,
    structure,
)
from onnxzip.prove.decoding import decode_steps, decoded_arrays
from onnxzip.records.aliases import Array
from onnxzip.records.elements.exact import as_plain, is_exact
from onnxzip.records.plan import Plan
from onnxzip.rewrite.emit import Emitted
from onnxzip.rewrite.restorer import Restorer
from onnxzip.rewrite.small_tensors import settled
from onnxzip.runtime.memory.watch import in_mb
from onnxzip.runtime.optimised import optimised_model
from onnxzip.runtime.own_fault import own_fault
from onnxzip.runtime.session import open_session
from onnxzip.runtime.survival import run_steps

_N_COMPARED = 1 << 20
"""Numbers that are compared at once: a float32 copy of a layer may be half of the model."""


def decode_weights(model: Model, n_nodes: int) -> dict[str, Array]:
    """Return what the runtime decodes: an array for each value that the decode nodes make.

    The arrays lie in temporary files, so that few are in memory at once.
    """
    # Not a loop, whose variable would hold a piece while the next one runs.
    return decoded_arrays(model, n_nodes, map(_on_disk, run_steps(decode_steps(model, n_nodes))))


def _on_disk(values: Mapping[str, Array]) -> dict[str, Array]:
    return dict(zip(values, share_with_disk(list(values.values())), strict=True))


def check_room(emitted: Emitted, n_free: int | None) -> None:
    """Refuse to decode with less memory than the largest weight takes."""
    n_needed = most_bytes_in_use(emitted.model, emitted.n_nodes)
    if n_free is not None and n_needed > n_free:
        raise InputError(
            f"{emitted.model.source}: to decode its largest weight takes {in_mb(n_needed)}, and "
            f"`max_memory` leaves {in_mb(n_free)}; allow more, or `keep` that weight as it is"
        )


def check_decoded(
    emitted: Emitted, plan: Plan, decoded: Mapping[str, Array], restorer: Restorer
) -> float:
    """Compare what the runtime decodes with what numpy restores; return the worst deviation.

    Args:
        emitted: the compressed model.
        plan: what it was made from.
        decoded: the decoded values by name, from a session of `graph.decoder`.
        restorer: restores the candidates with numpy.

    Returns:
        max |decoded - restored| / max |restored| over the weights; where integers are decoded,
        what must be off at least, see `IntegerGrid.excess`.

    Raises:
        VerificationError: a planned weight is not decoded at all, or has the wrong shape.
    """
    names = set(decoded_names(emitted.model, emitted.n_nodes))

    def deviation(name: str, restored: Array) -> float:
        home = emitted.homes.get(name, name)
        if home not in names or decoded[home].shape != restored.shape:
            raise VerificationError(
                f"weight '{name}': the emitted graph does not decode it; please report this model"
            )
        if name in emitted.grids:
            return emitted.grids[name].excess(restored, decoded[home])
        return _max_deviation(restored, decoded[home])

    worst = 0.0
    for name, candidate in plan.chosen.items():
        worst = max(worst, deviation(name, restorer.restore(candidate)))
    constants = settled(plan)
    for layer in plan.rounding.layers:
        worst = max(worst, deviation(layer.name, constants[layer.name]))
    for name, array in emitted.biases.items():
        worst = max(worst, deviation(name, array))
    return worst


def check_folding(
    rounds: Iterable[Round], decoded: Mapping[str, Array], providers: Sequence[str]
) -> float:
    """See that sessions fold what decodes, and to what; return the worst deviation.

    Args:
        rounds: the decoder, some values at a time.
        decoded: all that it decodes, by name.
        providers: where to look.

    Returns:
        The worst of max |folded - decoded| / max |decoded|.

    Raises:
        VerificationError: a node is left that decodes.
    """
    worst = 0.0
    for part in rounds:
        with own_fault(part.model.source):
            found, wanted = (
                structure(optimised_model(loadable(m))) for m in (part.model, part.folded(decoded))
            )
            if n_different := count_differences(found, wanted):
                raise VerificationError(
                    f"{part.model.source}: {n_different} nodes that decode are left after BASIC "
                    "optimisation; please report this model"
                )
            feeds = {name: np.array(shape, np.int64) for name, shape in part.fed.items()}
            for provider in providers:
                with open_session(loadable(part.model), provider=provider, repeatable=True) as session:
                    values = session.run(feeds)
                for name, output in part.outputs.items():
                    worst = max(worst, _max_deviation(decoded[name], values.pop(output)))
        release_pages(decoded.values())
    return worst


def _max_deviation(expected: Array, actual: Array) -> float:
    """Return max |expected - actual| / max |expected|; infinite where something decodes to NaN."""
    if is_exact(expected.dtype):
        wanted, found = (as_plain(a) for a in (expected, actual))
        return 0.0 if np.array_equal(wanted, found) else np.inf
    largest = difference = 0.0
    wanted, found = expected.reshape(-1), actual.reshape(-1)
    for i in range(0, wanted.size, _N_COMPARED):
        a = wanted[i : i + _N_COMPARED].astype(np.float32)
        b = found[i : i + _N_COMPARED].astype(np.float32)
        largest = max(largest, float(np.abs(a).max()))
        difference = max(
            difference, float(np.nan_to_num(np.abs(a - b), nan=np.inf, posinf=np.inf).max())
        )
    return difference / largest if largest > 0 else difference
