"""Exact checks: the emitted graph against the original graph that carries the decoded weights."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace

from onnxzip.errors import VerificationError
from onnxzip.graph import (
    Model,
    companions,
    loadable,
    release_pages,
    round_of,
    rounds_of,
    structure,
    with_copied_constants,
    with_plain_weights,
)
from onnxzip.inputs.feedset import FeedSet
from onnxzip.measure.metrics.rel_l2 import RelL2, exact_deviation
from onnxzip.measure.outputs.recorded_outputs import run_all
from onnxzip.measure.outputs.running_sums import Runs
from onnxzip.measure.subject import Subject
from onnxzip.prove.decoded_weights import check_decoded, check_folding, check_room, decode_weights
from onnxzip.prove.notes import note_on
from onnxzip.prove.structure import check_structure
from onnxzip.records.check import Check
from onnxzip.records.plan import Plan
from onnxzip.rewrite.emit import Emitted, plain_reference
from onnxzip.rewrite.restorer import Restorer
from onnxzip.runtime.optimised import optimised_model
from onnxzip.runtime.outputs import Outputs
from onnxzip.runtime.own_fault import own_fault
from onnxzip.runtime.session import Optimisation, Session, open_session

EXACT_LIMIT = 1e-5
"""Largest relative deviation of the emitted graph from the one it stands for."""


def check_exact(
    reference: Runs, candidate: Session, feeds: FeedSet, limit: float = EXACT_LIMIT
) -> Check:
    """Compare the emitted graph with the original graph that carries the restored weights.

    Args:
        reference: outputs of the latter on `feeds`, run by run.
        candidate: the emitted graph.
        feeds: what to run on.
        limit: largest relative deviation.
    """
    found = exact_deviation(reference, run_all(candidate, feeds))
    return Check(
        kind="exact",
        provider=candidate.provider,
        metric=RelL2.name,
        value=found.value,
        limit=limit,
        passed=found.value <= limit,
        n_samples=feeds.n_samples,
        seed=feeds.seed,
        note=note_on(candidate, feeds, found),
    )


_LEVELS: tuple[Optimisation, ...] = ("off", "all")

_MOST_DEVIATION = 1e-2
"""Deviation of a provider from the CPU, or from itself, beyond which its errors excuse nothing."""

_ITS_OWN = 2.0
"""Times what a plain model differs from itself that two sessions may be apart which compute the same:
int8 activations whose ranges are found at each run turn a last digit into a whole step (0.06 and 0.09 of
a dynamically quantised all-MiniLM-L6-v2, between sessions that are 0 apart without optimisation)."""

_MOST_KERNEL_DEVIATION = 0.5
"""Kernels that want their weights constant answer 0 or garbage otherwise, which is 1 off. Those that
only round otherwise may differ by much: MatMulNBits with accuracy_level 4, int8 activations in place of
float32 ones, by 0.009 behind three layers."""


_MOST_AT_ONCE, _MOST_IN_ROUND = 1 << 30, 1 << 27
"""Bytes that decode nodes may put out in one session, as they do in the user's: it is seen whole where
it can be (all-MiniLM-L6-v2 at -6: 0.7 GB). Above that, and where less memory is left, the weights are
decoded in rounds, of 128 MiB (`python -m tests.bench.memory`)."""

_SPARE = 2
"""Memory that a session takes which folds, over what its nodes put out: the results are there twice."""


@dataclass(frozen=True, eq=False)
class Expectation:
    """What the emitted graph must be and answer, collected from the plain reference.

    Attributes:
        nodes: the reference's graph after BASIC optimisation.
        runs: its outputs by provider and optimisation level; without optimisation, where nothing is
            folded, the weights are no constants in it either, as kernels may look at that.
        noise: how far a provider is from itself and from the CPU on them (`_noise_of`).
        deviation: worst deviation of the decoded weights from the restored ones.
        standing: what answers for the emitted model: itself, or, where it takes too much to decode all
            weights in one session, its graph with the decoded weights.
        how: what was done instead, in words; "" where nothing was.
    """

    nodes: Counter[str]
    runs: dict[tuple[str, Optimisation], list[Outputs]]
    noise: dict[str, float]
    deviation: float
    standing: Model
    how: str


def expect(
    folded: Model,
    emitted: Emitted,
    plan: Plan,
    restorer: Restorer,
    subject: Subject,
    n_free: int | None = None,
) -> Expectation:
    """Run the original graph with the weights that onnxruntime decodes from the emitted one.

    Args:
        folded: the original after structural passes.
        emitted: the compressed model.
        plan: what it was made from.
        restorer: restores the plan's weights; forgets its payloads.
        subject: what to run on.
        n_free: bytes of memory that are left; None for any.

    Raises:
        InputError: there is less memory left than decoding takes.
        VerificationError: a decoded weight is not what numpy restores, or has to be constant; a decoder
            does not fold.
    """
    source, standing = emitted.model.source, emitted.model
    check_room(emitted, n_free)
    most = _MOST_AT_ONCE if n_free is None else min(n_free // _SPARE, _MOST_AT_ONCE)
    names = rounds_of(emitted.model, emitted.n_nodes, most)
    if len(names) > 1:
        names = rounds_of(emitted.model, emitted.n_nodes, min(most, _MOST_IN_ROUND))
    rounds = [round_of(emitted.model, emitted.n_nodes, part) for part in names]
    small = [part for part in rounds if n_free is None or part.n_bytes <= n_free // _SPARE]
    with own_fault(source):
        decoded = decode_weights(emitted.model, emitted.n_nodes)
    deviation = check_decoded(emitted, plan, decoded, restorer)
    if len(small) != 1 or len(rounds) != 1:
        deviation = max(deviation, check_folding(small, decoded, subject.providers))
        standing = with_plain_weights(emitted.model, emitted.n_nodes, decoded)
    if deviation > EXACT_LIMIT:
        raise VerificationError(
            f"{source}: the graph decodes weights {deviation:.2g} off their restored values "
            f"(limit {EXACT_LIMIT:g}); please report this model"
        )
    reference, stored = plain_reference(folded, emitted, plan, decoded)
    restorer.forget()
    release_pages(folded.arrays.values())
    with own_fault(source):
        nodes = structure(optimised_model(loadable(reference), custom_ops=subject.custom_ops))
    parts = [{stored[name] for name in part if name in stored} for part in names]
    runs, noise = _run_reference(reference, parts, subject)
    n_unfolded = sum(len(part.outputs) for part in rounds if part not in small)
    how = "" if standing is emitted.model else f"decoded in {len(rounds)} rounds"
    if n_unfolded:
        how += f", {n_unfolded} weights not seen to fold, for lack of memory"
    return Expectation(nodes, runs, noise, deviation, standing, how)


def _run_reference(
    reference: Model, rounds: Sequence[Collection[str]], subject: Subject
) -> tuple[dict[tuple[str, Optimisation], list[Outputs]], dict[str, float]]:
    """Return the outputs to expect, and by provider how far it is from itself on them.

    Args:
        reference: the plain model.
        rounds: names of its weights that a session decodes at once.
        subject: what to run on.
    """
    on_cpu = _run_exact(reference, "CPU", "all", subject)
    runs: dict[tuple[str, Optimisation], list[Outputs]] = {}
    noise: dict[str, float] = {}
    for provider in subject.providers:
        whole = on_cpu if provider == "CPU" else _run_exact(reference, provider, "all", subject)
        bare = _run_exact(reference, provider, "off", subject)
        others = [on_cpu, bare]
        for names in rounds:
            unfolded = _run_unfolded(reference, names, provider, subject, is_alone=len(rounds) == 1)
            _check_kernels(bare[: len(unfolded)], unfolded, provider)
            others.append(unfolded)
        noise[provider] = _noise_of(others, whole)
        runs |= {(provider, "all"): whole, (provider, "off"): unfolded if len(rounds) == 1 else bare}
    return runs, noise


def _run_unfolded(
    reference: Model, names: Collection[str], provider: str, subject: Subject, *, is_alone: bool
) -> list[Outputs]:
    """Return the plain model's outputs where some of its weights are no constants.

    Of several rounds each is run once: kernels that mind say so at once.
    """
    copied = with_copied_constants(reference, {*names, *companions(reference, names)})
    feeds = subject.exact_feeds if is_alone else subject.exact_feeds.head(1)
    return _run_exact(copied, provider, "off", subject, feeds)


def _open_exact(model: Model, provider: str, level: Optimisation, subject: Subject) -> Session:
    return open_session(
        loadable(model),
        provider=provider,
        optimisation=level,
        custom_ops=subject.custom_ops,
        repeatable=True,
    )


def _run_exact(
    model: Model, provider: str, level: Optimisation, subject: Subject, feeds: FeedSet | None = None
) -> list[Outputs]:
    """Return a model's outputs on what exact checks run on, or on other feeds.

    The original has run on the CPU; on an accelerator, where it has not, a failure is its own.
    """
    blame = own_fault(model.source) if provider == "CPU" else nullcontext()
    with blame, _open_exact(model, provider, level, subject) as session:
        return list(run_all(session, feeds or subject.exact_feeds))


def _noise_of(others: Sequence[list[Outputs]], whole: list[Outputs]) -> float:
    """Return how far sessions of a provider on the same weights are apart.

    One that computes with fewer digits, or picks its kernels by their speed or by which of their inputs
    are constant, does not repeat itself to EXACT_LIMIT. What it differs by from the CPU and from itself
    is the error of its arithmetic: a LayerNormalization that takes a large mean off makes 1e-4 of 1e-7.

    Args:
        others: outputs of the plain model, on the CPU or with less optimisation, of the first runs at
            least.
        whole: its outputs on the provider, as users' sessions compute them.
    """
    return max(exact_deviation(whole[: len(runs)], runs).value for runs in others)


def _limit_of(noise: float, *, is_same: bool) -> float:
    """Return how far the emitted graph may be from the plain one, of this noise.

    Where both were found to compute the same without optimisation, it is all that is between them.
    """
    if is_same and noise > _MOST_DEVIATION:
        return min(_ITS_OWN * noise, _MOST_KERNEL_DEVIATION)
    return min(max(EXACT_LIMIT, noise), _MOST_DEVIATION)


def _check_kernels(plain: Runs, copied: Runs, provider: str) -> None:
    """Refuse a model that, not optimised, answers otherwise where its weights are no constants."""
    found = exact_deviation(plain, copied)
    if found.value > _MOST_KERNEL_DEVIATION:
        raise VerificationError(
            f"on {provider} without graph optimisation, weights that are decoded change the outputs by "
            f"{found.value:.2g}: a kernel needs them constant; `keep` leaves a weight as it is"
        )


def prove_exact(expected: Expectation, subject: Subject) -> list[Check]:
    """Compare the emitted graph with the original graph that carries the decoded weights.

    First the graph after BASIC optimisation, node for node; then the outputs, on every provider, at
    optimisation levels off and all.

    Raises:
        VerificationError: a check fails; the compressed model is wrong and must not be written.
    """
    emitted = expected.standing
    checks = [check_structure(expected.nodes, emitted, subject.custom_ops)]
    for provider in subject.providers:
        found: list[Check] = []
        for level in _LEVELS:
            with _open_exact(emitted, provider, level, subject) as session:
                is_same = any(check.value <= EXACT_LIMIT for check in found)
                limit = _limit_of(expected.noise[provider], is_same=is_same)
                runs = expected.runs[provider, level]
                found.append(check_exact(runs, session, subject.exact_feeds, limit))
        worst = max(found, key=lambda check: (check.failed, check.value))
        own = f"{provider} itself repeats its outputs no better" if worst.limit > EXACT_LIMIT else ""
        notes = (worst.note, "optimisation off and all", expected.how, own)
        note = "; ".join(part for part in notes if part)
        value = max(worst.value, expected.deviation)
        checks.append(replace(worst, value=value, note=note))
    for check in checks:
        if check.failed:
            raise VerificationError(
                f"{emitted.source}: {check.kind} check failed on {check.provider}: {check.value:.3g}, "
                f"the limit is {check.limit:.3g}; please report this model"
            )
    return checks
