"""Weights of which measurements tell nothing: how large their errors may be, and what a user is told."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from onnxzip.graph import weights_behind
from onnxzip.measure.subject import Subject
from onnxzip.propose.ladders import Ladders
from onnxzip.propose.proposal import Proposal
from onnxzip.records.finding import Finding

HARMLESS_ERROR = 7e-4
"""Largest relative error of a weight of which inputs tell nothing: that of 12 bits. Noise of this share
of every tensor's size, of all together, costs 0.002 to 0.014 nrmse on real inputs of seven models, and
0.14 and 0.19 of two front ends whose weights are the filters of a spectrogram; noise of 3e-3 0.005 to
0.07, 0.22 and 0.30 (`python -m tests.bench.harmless FOLDER`)."""

_KEEPS = "keeps 12 bits or more"
_UNREACHED = f"no input reached it: it {_KEEPS}"
_REACHING = "pass inputs that reach it too, if the model will meet any: other branches, lengths, states"
_SILENT = f"no output behind it tells anything: it {_KEEPS}"


def unreached(names: Iterable[str]) -> dict[str, str]:
    """Return why weights that no input reaches are not judged, by name."""
    return dict.fromkeys(names, _UNREACHED)


def silent(proposal: Proposal, subject: Subject) -> dict[str, str]:
    """Return why layers are not to be judged by what is measured: no output behind them tells anything.

    One that does is enough: the errors of weights that outputs share are seen there. What an output that
    tells nothing loses by them is not known, and the verdict says so.
    """
    if not subject.unproven:
        return {}
    telling = set(subject.samples[0].statistics) - set(subject.unproven)
    behind = weights_behind(proposal.model, subject.unproven) - weights_behind(proposal.model, telling)
    return {name: _SILENT for name in proposal.ladders if name in behind}


def harmless(ladders: Ladders, names: Collection[str]) -> Ladders:
    """Let layers of which nothing is known have no error that counts on any model."""
    capped = dict(ladders)
    for name in names:
        capped[name] = [c for c in ladders[name] if c.error <= HARMLESS_ERROR]
    return capped


def doubts(blind: Mapping[str, str], *, is_generated: bool) -> list[str]:
    """Return why a verdict says nothing about some weights.

    What the user's own inputs do not reach changes nothing for them: that is a warning (`findings`).

    Args:
        blind: why weights are not judged, by name.
        is_generated: whether the verdict rests on inputs that were made up.
    """
    text = _named(blind)
    return [text] if text and is_generated else []


def findings(blind: Mapping[str, str], *, is_generated: bool) -> list[Finding]:
    """Return what the user's inputs leave open; the arguments are those of `doubts`."""
    text = "" if is_generated else _named(blind)
    return [Finding("unreached", f"{text}, which {_KEEPS}; {_REACHING}")] if text else []


def _named(blind: Mapping[str, str]) -> str:
    """Name a weight that no input reached, "" where there is none."""
    names = [name for name, why in blind.items() if why == _UNREACHED]
    others = f" and {len(names) - 1} more" if len(names) > 1 else ""
    return f"no input reached weight {names[0]!r}{others}" if names else ""
