"""Proves a compressed model: it folds to the original, computes what it should, loses what it may.

Memory decides the order: a session on a compressed model takes several times the model while it
decodes, so that the outputs of the plain reference are collected first and its weights dropped.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from onnxzip.deviations import Runs, exact_deviation
from onnxzip.errors import VerificationError
from onnxzip.evaluation import Sample, source_of
from onnxzip.feeds import FeedSet
from onnxzip.graph import (
    Model,
    count_differences,
    decoded_types,
    decoder,
    release_pages,
    share_with_disk,
    structure,
)
from onnxzip.runtime import Optimisation, Outputs, Session, open_session, optimised_model
from onnxzip.surgery import Emitted, Restorer, check_decoded, plain_emitted, plain_reference
from onnxzip.types import Array, Check, Plan
from onnxzip.validate import EXACT_LIMIT, check_drift, check_exact, collect_outputs

_LEVELS: tuple[Optimisation, ...] = ("off", "all")
_N_EXACT_RUNS = 8
_MOST_DEVIATION = 1e-2
"""Deviation of a provider from the CPU beyond which its errors excuse nothing."""


@dataclass(frozen=True, eq=False)
class Subject:
    """The original model as all checks see it.

    Attributes:
        sample: what every check runs on, and how loss is measured and limited.
        fitted: what is fitted to; other inputs where there are enough, else the same sample.
        providers: execution providers to check on.
        custom_ops: shared library of custom operators.
    """

    sample: Sample
    fitted: Sample
    providers: Sequence[str]
    custom_ops: Path | None

    @property
    def exact_feeds(self) -> FeedSet:
        """What exact checks run on: wrong surgery shows on any sample, and outputs take memory."""
        return self.sample.feeds.head(_N_EXACT_RUNS)


@dataclass(frozen=True, eq=False)
class Expectation:
    """What the emitted graph must be and answer, collected from the plain reference.

    Attributes:
        nodes: the reference's graph after BASIC optimisation.
        runs: its outputs by provider and optimisation level.
        limits: largest deviation from them, by provider (`_limit_on`).
        deviation: worst deviation of the decoded weights from the restored ones.
    """

    nodes: Counter[str]
    runs: dict[tuple[str, Optimisation], list[Outputs]]
    limits: dict[str, float]
    deviation: float


def decode_weights(model: Model, n_nodes: int, custom_ops: Path | None = None) -> dict[str, Array]:
    """Return what the runtime decodes: an array for each value that the decode nodes make.

    The arrays lie in a temporary file: as long as one lives in the session's memory, all of it stays.
    """
    with open_session(
        source_of(decoder(model, n_nodes)), optimisation="off", custom_ops=custom_ops
    ) as session:
        values = session.run({})
    types = decoded_types(model, n_nodes)
    arrays = [array.astype(types[name], copy=False) for name, array in values.items()]
    return dict(zip(values, share_with_disk(arrays), strict=True))


def expect(
    folded: Model, emitted: Emitted, plan: Plan, restorer: Restorer, subject: Subject
) -> Expectation:
    """Run the original graph with the weights that onnxruntime decodes from the emitted one.

    Raises:
        VerificationError: a decoded weight is not what numpy restores.
    """
    decoded = decode_weights(emitted.model, emitted.n_nodes, subject.custom_ops)
    deviation = check_decoded(emitted, plan, decoded, restorer)
    if deviation > EXACT_LIMIT:
        raise VerificationError(
            f"the graph decodes weights {deviation:.2g} off their restored values "
            f"(limit {EXACT_LIMIT:g}); please report this model"
        )
    reference = plain_reference(folded, emitted, plan, decoded, restorer)
    restorer.forget()
    release_pages(folded.arrays.values())
    computed = any(c.form == "computed" for c in plan.chosen.values())
    plain = plain_emitted(emitted, decoded) if computed else reference
    nodes = structure(optimised_model(source_of(plain), "basic", custom_ops=subject.custom_ops))
    runs = {
        (provider, level): _run_exact(reference, provider, level, subject)
        for provider in subject.providers
        for level in _LEVELS
    }
    limits = dict.fromkeys(subject.providers, EXACT_LIMIT)
    accelerators = [provider for provider in subject.providers if provider != "CPU"]
    if accelerators:
        on_cpu = runs.get(("CPU", "all")) or _run_exact(reference, "CPU", "all", subject)
        limits |= {p: _limit_on(runs[p, "all"], on_cpu) for p in accelerators}
    return Expectation(nodes, runs, limits, deviation)


def _open_exact(model: Model, provider: str, level: Optimisation, subject: Subject) -> Session:
    return open_session(
        source_of(model),
        provider=provider,
        optimisation=level,
        custom_ops=subject.custom_ops,
        repeatable=True,
    )


def _run_exact(model: Model, provider: str, level: Optimisation, subject: Subject) -> list[Outputs]:
    """Return a model's outputs on what exact checks run on."""
    with _open_exact(model, provider, level, subject) as session:
        return [session.run(feeds) for feeds in subject.exact_feeds]


def _limit_on(accelerated: Runs, on_cpu: Runs) -> float:
    """Return how far an accelerator's two sessions on the same weights may be apart.

    One that computes with fewer digits, and picks its kernels by their speed, does not repeat itself to
    EXACT_LIMIT; what it differs by from the CPU on the plain model is the error of its arithmetic.
    """
    return min(max(EXACT_LIMIT, exact_deviation(on_cpu, accelerated).value), _MOST_DEVIATION)


def prove_exact(expected: Expectation, emitted: Model, subject: Subject) -> list[Check]:
    """Compare the emitted graph with the original graph that carries the decoded weights.

    First the graph after BASIC optimisation, node for node; then the outputs, on every provider, at
    optimisation levels off and all.

    Raises:
        VerificationError: a check fails; the compressed model is wrong and must not be written.
    """
    checks = [_check_structure(expected.nodes, emitted, subject.custom_ops)]
    for provider in subject.providers:
        found: list[Check] = []
        for level in _LEVELS:
            with _open_exact(emitted, provider, level, subject) as session:
                runs, limit = expected.runs[provider, level], expected.limits[provider]
                found.append(check_exact(runs, session, subject.exact_feeds, limit))
        worst = max(found, key=lambda check: (not check.passed, check.value))
        own = f"{provider} itself is that far from the CPU" if worst.limit > EXACT_LIMIT else ""
        note = "; ".join(part for part in (worst.note, "optimisation off and all", own) if part)
        value = max(worst.value, expected.deviation)
        checks.append(replace(worst, value=value, note=note))
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
    sample = subject.sample
    for provider in subject.providers:
        runs: Runs = sample.reference
        if provider != "CPU":
            with open_session(
                source_of(original), provider=provider, custom_ops=subject.custom_ops
            ) as session:
                runs = list(collect_outputs(session, sample.feeds))
        with open_session(
            source_of(emitted), provider=provider, custom_ops=subject.custom_ops
        ) as session:
            checks.append(check_drift(runs, session, sample.feeds, sample.metric))
    return checks


def _check_structure(wanted: Counter[str], emitted: Model, custom_ops: Path | None) -> Check:
    """Compare graphs after BASIC optimisation: no decode node left, node for node the plain one."""
    found = structure(optimised_model(source_of(emitted), "basic", custom_ops=custom_ops))
    n_different = count_differences(found, wanted)
    note = f"{sum(wanted.values())} nodes and outputs after BASIC optimisation"
    return Check("structure", "CPU", "nodes", n_different, 0, n_different == 0, 0, None, note)
