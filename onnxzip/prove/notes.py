"""What a reader must know about a figure."""

from __future__ import annotations

from onnxzip.inputs.feedset import FeedSet
from onnxzip.measure.metric import Deviation
from onnxzip.runtime.session import Session


def note_on(session: Session, feeds: FeedSet, found: Deviation) -> str:
    """Return what is known of a deviation: the inputs, the worst output, what ran where."""
    parts = [feeds.note, found.note, f"worst output {found.output!r}" if found.output else ""]
    if session.n_provider_nodes is not None and session.n_nodes:
        parts.append(f"{session.n_provider_nodes} of {session.n_nodes} nodes run on {session.provider}")
    return "; ".join(part for part in parts if part)
