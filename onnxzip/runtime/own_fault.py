"""Says whose fault it is that a model fails: not the user's, when we wrote it and the original runs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from onnxzip.errors import ModelError, ProviderError, VerificationError


@contextmanager
def own_fault(source: str) -> Iterator[None]:
    """Turn the failure of a model that we wrote into an error about us.

    Args:
        source: what the original is called in messages.

    Raises:
        VerificationError: a session inside could not be made, or failed.
    """
    try:
        yield
    except (ModelError, ProviderError) as error:
        finding = error.finding.removeprefix(f"{source}: ")
        raise VerificationError(
            f"{source}: the model as onnxzip writes it fails, where the original runs: {finding}; "
            "nothing is written, please report this model"
        ) from error
