"""What is asked for beside the model: a signature, a seal, a bill of materials."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from onnxzip.disk.own_copy import is_device
from onnxzip.errors import OutputError, TrustError, UsageError, path_advice, reason_of

SIGNATURE = ".sig"
"""Follows the name of what is signed: model_signing's own documentation signs finbert as finbert.sig."""

SEALED = ".age"
"""Ends the names of what age encrypts (its README)."""

_MAX_KEY_BYTES = 1 << 20
"""Of a key, a list of keys or a signature: thousands of times what one takes."""


@dataclass(frozen=True)
class Delivery:
    """How a model is handed over.

    Attributes:
        sign: PEM file of the private key to sign with.
        key_password: that of the key, where it has one.
        seal: whom to seal the model for: public keys, and files of them.
        bom: where the bill of materials goes.
    """

    sign: Path | None = None
    key_password: bytes | None = field(default=None, repr=False)
    seal: tuple[str, ...] = ()
    bom: Path | None = None

    def __post_init__(self) -> None:
        """Bring a list of recipients to its type."""
        object.__setattr__(self, "seal", tuple(self.seal))

    @property
    def is_plain(self) -> bool:
        """Whether there is nothing but the model."""
        return self.sign is None and self.bom is None and not self.seal

    def signature(self, output: Path) -> Path | None:
        """Return where the signature of an output goes, None without one."""
        return None if self.sign is None else signature_of(output)

    def beside(self, output: Path) -> tuple[Path, ...]:
        """Return the files that are written beside an output."""
        return tuple(path for path in (self.bom, self.signature(output)) if path is not None)

    @property
    def read(self) -> tuple[Path, ...]:
        """Return the files that are read: keys, and lists of them."""
        lists = (Path(text) for text in self.seal if not is_key(text))
        return tuple(path for path in (self.sign, *lists) if path is not None)


def signature_of(path: Path) -> Path:
    """Return where the signature of a file lies: beside it."""
    return path.with_name(path.name + SIGNATURE)


def check_no_signature(output: Path) -> None:
    """Refuse to write a file, without a signature, beside one of what lay in its place before.

    It is not removed in silence: whoever signed a file once may have forgotten to ask for it now.

    Raises:
        OutputError: there is one.
    """
    signature = signature_of(output)
    if os.path.lexists(signature):
        raise OutputError(
            f"{signature}: would not fit the new {output.name}; sign that with `sign`, or remove this"
        )


def is_key(text: str) -> bool:
    """Whether a text is a key of age or of ssh, be it the wrong one, and not the name of a file."""
    return text.lower().startswith(("age1", "ssh-", "age-secret-key-", "ecdsa-", "sk-ssh-", "sk-ecdsa-"))


@contextmanager
def needing(setting: str, package: str, extra: str) -> Iterator[None]:
    """Import a package of an extra in the block.

    Raises:
        UsageError: it is not installed.
    """
    try:
        yield
    except ImportError as error:
        raise UsageError(
            f"`{setting}` needs the package {package}; pip install 'onnxzip[{extra}]' ({error})"
        ) from error


def read_small(setting: str, path: Path, *, is_read_once: bool = False) -> bytes:
    """Return what a file holds that a setting names: keys.

    Args:
        setting: its name.
        path: the file.
        is_read_once: whether a pipe will do, which `<(command)` of a shell is.

    Raises:
        TrustError: it cannot be read, or holds more than any key.
    """
    where = f"`{setting}` {path}"
    if is_device(path) and not (is_read_once and path.is_fifo()):
        raise TrustError(f"{where}: is a device or a pipe; write the key to a file and name that")
    try:
        with path.open("rb") as file:
            data = file.read(_MAX_KEY_BYTES + 1)
    except FileNotFoundError as error:
        raise TrustError(f"{where}: there is no such file; {path_advice(path)}") from error
    except (OSError, ValueError) as error:
        reason = reason_of(error) if isinstance(error, OSError) else f"{error}; check the path"
        raise TrustError(f"{where}: cannot be read; {reason}") from error
    if len(data) > _MAX_KEY_BYTES:
        raise TrustError(f"{where}: holds more than {_MAX_KEY_BYTES} bytes, and no key; name another")
    return data


def lines_of(setting: str, path: Path, data: bytes) -> list[tuple[int, str]]:
    """Return the lines of a file that age reads, neither empty nor a comment, with their numbers.

    Args:
        setting: what names the file.
        path: the file, for messages.
        data: what it holds.

    Raises:
        TrustError: it is no text.
    """
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        raise TrustError(
            f"`{setting}` {path}: is no text; name a file with a key on each line"
        ) from error
    lines = ((number, line.strip()) for number, line in enumerate(text.splitlines(), 1))
    return [(number, line) for number, line in lines if line and not line.startswith("#")]
