"""What the Python interface is given of keys and of files beside the model, as one record."""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike
from pathlib import Path

from onnxzip.errors import UsageError
from onnxzip.options.readers import read_path
from onnxzip.options.typed import AnyPath
from onnxzip.trust.delivery import Delivery, is_key


def read_delivery(
    sign: AnyPath | None,
    key_password: str | bytes | None,
    seal: AnyPath | Sequence[AnyPath],
    bom: AnyPath | None,
) -> Delivery:
    """Return what is asked for beside the model."""
    several = (seal,) if isinstance(seal, str | PathLike) else seal
    place = None if bom is None else read_path("bom", bom)
    if place is not None and place.suffix.lower() != ".json":
        raise UsageError(f"`bom` {place}: is no .json file; name one")
    return Delivery(
        None if sign is None else read_path("sign", sign),
        key_password.encode() if isinstance(key_password, str) else key_password,
        tuple(str(read_path("seal", recipient)) for recipient in several),
        place,
    )


def read_identity(identity: AnyPath | None) -> str | Path | None:
    """Return a key as it is given, or the path of its file."""
    if isinstance(identity, str) and is_key(identity):
        return identity
    return None if identity is None else read_path("identity", identity)
