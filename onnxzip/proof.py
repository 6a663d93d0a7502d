"""Proves a compressed model: it folds to the original, computes what it should, loses what it may."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from onnxzip.deviations import Runs
from onnxzip.errors import VerificationError
from onnxzip.evaluation import source_of
from onnxzip.feeds import FeedSet
from onnxzip.graph import Model, count_differences, decoder, structure
from onnxzip.metrics import Metric
from onnxzip.runtime import Optimisation, open_session, optimised_model
from onnxzip.surgery import Emitted, Restorer, check_decoded, plain_emitted, plain_reference
from onnxzip.types import Array, Check, Plan
from onnxzip.validate import EXACT_LIMIT, check_drift, check_exact, collect_outputs

_LEVELS: tuple[Optimisation, ...] = ("off", "all")


@dataclass(frozen=True, eq=False)
class Subject:
    """The original model as all checks see it: its feeds, what it answered, how loss is measured."""

    feeds: FeedSet
    reference: Runs
    metric: Metric
    providers: Sequence[str]
    custom_ops: Path | None


def decode_weights(model: Model, n_nodes: int, custom_ops: Path | None = None) -> dict[str, Array]:
    """Return what the runtime decodes: an array for each value that the decode nodes make."""
    with open_session(
        source_of(decoder(model, n_nodes)), optimisation="off", custom_ops=custom_ops
    ) as session:
        return session.run({})


def prove_exact(
    folded: Model, emitted: Emitted, plan: Plan, restorer: Restorer, subject: Subject
) -> list[Check]:
    """Compare the emitted graph with the original graph that carries the restored weights.

    First the weights: what onnxruntime decodes against what numpy restores. Then the graph after
    BASIC optimisation, node for node. Then the outputs, on every provider, at optimisation levels
    off and all.

    Raises:
        VerificationError: a check fails; the compressed model is wrong and must not be written.
    """
    decoded = decode_weights(emitted.model, emitted.n_nodes, subject.custom_ops)
    deviation = check_decoded(emitted, plan, decoded, restorer)
    if deviation > EXACT_LIMIT:
        raise VerificationError(
            f"the graph decodes weights {deviation:.2g} off their restored values "
            f"(limit {EXACT_LIMIT:g}); please report this model"
        )
    reference = plain_reference(folded, emitted, plan, decoded, restorer)
    computed = any(c.form == "computed" for c in plan.chosen.values())
    plain = plain_emitted(emitted, decoded) if computed else reference
    checks = [_check_structure(emitted.model, plain, subject.custom_ops)]
    for provider in subject.providers:
        checks.append(_worst(list(_exact_checks(reference, emitted.model, provider, subject))))
    for check in checks:
        if not check.passed:
            raise VerificationError(
                f"{check.kind} check failed on {check.provider}: {check.value:.3g}, the limit is "
                f"{check.limit:.3g}; please report this model"
            )
    return checks


def measure_drift(emitted: Model, original: Model, subject: Subject) -> list[Check]:
    """Compare the emitted graph with the original model in the user's metric, on every provider."""
    checks = []
    for provider in subject.providers:
        runs = subject.reference
        session = open_session(source_of(emitted), provider=provider, custom_ops=subject.custom_ops)
        if provider == "CPU":
            checks.append(check_drift(runs, session, subject.feeds, subject.metric))
        else:
            with open_session(
                source_of(original), provider=provider, custom_ops=subject.custom_ops
            ) as original_session:
                runs = collect_outputs(original_session, subject.feeds)
                checks.append(check_drift(runs, session, subject.feeds, subject.metric))
        session.close()
    return checks


def _exact_checks(reference: Model, emitted: Model, provider: str, subject: Subject) -> Iterator[Check]:
    for level in _LEVELS:
        options = {"provider": provider, "optimisation": level, "custom_ops": subject.custom_ops}
        with open_session(source_of(reference), **options) as session:  # type: ignore[arg-type]
            runs = collect_outputs(session, subject.feeds)
            with open_session(source_of(emitted), **options) as candidate:  # type: ignore[arg-type]
                yield check_exact(runs, candidate, subject.feeds)


def _check_structure(emitted: Model, plain: Model, custom_ops: Path | None) -> Check:
    """Compare the graphs after BASIC optimisation: no decode node left, node for node the plain one."""
    found, wanted = (
        structure(optimised_model(source_of(model), "basic", custom_ops=custom_ops))
        for model in (emitted, plain)
    )
    n_different = count_differences(found, wanted)
    note = f"{sum(wanted.values())} nodes and outputs after BASIC optimisation"
    return Check("structure", "CPU", "nodes", n_different, 0, n_different == 0, 0, None, note)


def _worst(checks: Sequence[Check]) -> Check:
    worst = max(checks, key=lambda check: (not check.passed, check.value))
    note = "; ".join(part for part in (worst.note, "optimisation off and all") if part)
    return replace(worst, note=note)
