"""Finds the pages: every .md file beside this one is a topic, named like the file."""

from __future__ import annotations

import re
from importlib import resources

from onnxzip.errors import UsageError, did_you_mean

START = "start"
"""The page that lists the others, shown where no topic is named."""


def topics() -> list[str]:
    """Return the names of all topics, in alphabetical order."""
    names = (file.name for file in resources.files(__package__).iterdir())
    return sorted(name.removesuffix(".md") for name in names if name.endswith(".md"))


def read_page(topic: str = START) -> str:
    """Return the Markdown of a topic, without comments: these say how its examples are tested.

    Args:
        topic: its name, in any case, or that of its file.

    Raises:
        UsageError: there is no such topic.
    """
    name, known = topic.lower().removesuffix(".md"), topics()
    if name not in known:
        meant = did_you_mean(name, known, f"there are {', '.join(known)}")
        raise UsageError(f"the guide has no topic '{topic}'; {meant}")
    text = (resources.files(__package__) / f"{name}.md").read_text("utf-8")
    return re.sub(r"<!--.*?-->\n?", "", text, flags=re.DOTALL)
