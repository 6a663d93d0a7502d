"""What a reader must know about a figure."""

from __future__ import annotations

from onnxzip.inputs.feedset import FeedSet
from onnxzip.measure.metric import Deviation
from onnxzip.runtime.session import Session


def note_on(session: Session, feeds: FeedSet, found: Deviation) -> str:
    """Return what is known of a deviation: the inputs, the worst output, what ran where."""
    return joined(note_of(feeds, found), share_of(session))


def note_of(feeds: FeedSet, found: Deviation) -> str:
    """Return what is known of a deviation whatever it ran on: the inputs, the worst output."""
    return joined(feeds.note, found.note, f"worst output {found.output!r}" if found.output else "")


def share_of(session: Session) -> str:
    """Return how many nodes an accelerator runs, "" where that is not known."""
    if session.n_provider_nodes is None or not session.n_nodes:
        return ""
    return f"{session.n_provider_nodes} of {session.n_nodes} nodes run on {session.provider}"


def joined(*parts: str) -> str:
    """Return the notes that say something as one."""
    return "; ".join(part for part in parts if part)
