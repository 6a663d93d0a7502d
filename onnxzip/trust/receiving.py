"""Opens what was signed or sealed: the signature is checked first, on the bytes that are then used."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from onnxzip import graph
from onnxzip.disk.named_bytes import NamedBytes
from onnxzip.disk.own_copy import is_device
from onnxzip.errors import ModelError, UsageError, path_advice, reason_of
from onnxzip.graph import Model, PlainModel
from onnxzip.trust.seal import unseal
from onnxzip.trust.sign import Signed, digest_of, read_signature

if TYPE_CHECKING:
    from onnxzip.runtime.loadable import SessionOptions, UsersSession


@dataclass(frozen=True)
class Received:
    """A model whose signature fits.

    Attributes:
        signed: what the signature says.
        missing: names of files that were signed with it and are not here.
    """

    signed: Signed
    missing: tuple[str, ...]

    @property
    def text(self) -> str:
        """What is told of it, in one line."""
        signed, original = self.signed, self.signed.original
        here = ", ".join(name for name in signed.files if name not in self.missing)
        parts = [f"{signed.signature}: signed with the key of {signed.key}: {here}"]
        parts += [f"not here: {', '.join(self.missing)}"] if self.missing else []
        if original is not None and original.sha256:
            parts.append(f"made from {original.name} (sha256 {original.sha256})")
        return "; ".join(parts)


def opened(source: PlainModel, identity: str | Path | None) -> PlainModel:
    """Return a model as the stages take it; a sealed one is opened, in memory.

    Raises:
        TrustError: the identity does not open it.
        ModelError: it cannot be read.
    """
    if identity is None:
        return source
    name, data = _content(source)
    return NamedBytes(unseal(data, identity, name), name)


def received(
    source: PlainModel, identity: str | Path | None, public_key: Path | None
) -> tuple[PlainModel | Model, Received | None]:
    """Return a model, read where it is signed or sealed, and what its signature says.

    Args:
        source: the model.
        identity: what opens a sealed one.
        public_key: the key that its signature has to fit; None asks for none.

    Raises:
        TrustError: the signature does not fit, or the identity does not open it.
        ModelError: it cannot be read.
    """
    signed = None if public_key is None else read_signature(_path(source), public_key)
    if identity is None:
        if signed is None:
            return source, None
        path = _path(source)
        signed.check(path, digest_of(path))  # before any of it is parsed
        model = graph.read_model(source)
        others = [file for file in model.files if file != path]
        return model, Received(signed, signed.check(path, model.digest, others))
    name, data = _content(source)
    missing = () if signed is None else signed.check(_path(source), _sha256(data))
    model = graph.read_model(NamedBytes(unseal(data, identity, name), name))
    return model, None if signed is None else Received(signed, missing)


def load(
    source: Path,
    identity: str | Path | None,
    public_key: Path | None,
    sess_options: SessionOptions | None,
    providers: Sequence[Any] | None,
) -> UsersSession:
    """Return a session on a model that is opened in memory; see `onnxzip.load`."""
    from onnxzip.runtime.loadable import users_session

    signed = None if public_key is None else read_signature(source, public_key)
    name, data = _content(source)
    if signed is not None:
        signed.check(source, _sha256(data))
    if identity is not None:
        data = unseal(data, identity, name)
    graph.read_model(NamedBytes(data, name))  # refuses what is no model, and data in other files
    return users_session(data, name, sess_options, providers)


def _content(source: PlainModel) -> tuple[str, bytes]:
    """Return what a model is called, and its bytes."""
    if isinstance(source, bytes):
        return source.name if isinstance(source, NamedBytes) else "<bytes>", source
    path = _path(source)
    try:
        if path.is_dir() or is_device(path):
            raise ModelError(f"{path}: is no file; name the model's")
        return str(path), path.read_bytes()
    except (OSError, ValueError) as error:
        reason = reason_of(error) if isinstance(error, OSError) else str(error)
        advice = path_advice(path) if isinstance(error, FileNotFoundError) else "check the path"
        raise ModelError(f"{path}: cannot be read: {reason.partition('; ')[0]}; {advice}") from error


def _path(source: PlainModel) -> Path:
    """Return the file that a model lies in.

    Raises:
        UsageError: it lies in none.
    """
    if not isinstance(source, Path):
        raise UsageError(
            "`public_key` needs a file, beside which the signature lies; write the model to one"
        )
    return source


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
