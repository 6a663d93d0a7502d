"""Seals files with age (age-encryption.org/v1, C2SP), through pyrage: only who has a key reads them.

A seal hides a file and shows every change to it. It does not say who made the file: anybody can seal
for a public key. That is for a signature to say.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from onnxzip.errors import TrustError, VerificationError
from onnxzip.records.file_kinds import is_sealed
from onnxzip.trust.delivery import is_key, lines_of, needing, read_small

if TYPE_CHECKING:
    from onnxzip.disk.replacing import Replacement

_PIECE_BYTES, _TAG_BYTES = 1 << 16, 16
"""age seals a file in pieces, each with a tag (age-encryption.org/v1, "Payload")."""

_GREASE_BYTES = 256
"""More than a header differs in size from one time to the next: it holds a stanza for nobody, of a name
of 15 bytes, up to 4 words of 9 and a body of 100 (grease_the_joint in age-core of str4d/rage)."""

_KNOWN = "age1... of X25519, ssh-ed25519 and ssh-rsa are known"


def read_recipients(texts: Sequence[str]) -> list[Any]:
    """Return the recipients that are named: public keys, or files with one on each line.

    Raises:
        TrustError: one is no such key, or a file cannot be read.
        UsageError: pyrage is not installed.
    """
    found = []
    for text in texts:
        if is_key(text):
            found.append(_recipient(text, "`seal`"))
            continue
        path = Path(text)
        lines = lines_of("seal", path, read_small("seal", path, is_read_once=True))
        if not lines:
            raise TrustError(f"`seal` {path}: holds no public key; write one on a line")
        found += [_recipient(line, f"`seal` {path}: line {number}") for number, line in lines]
    return found


def _recipient(text: str, where: str) -> Any:
    with needing("seal", "pyrage", "seal"):
        import pyrage
    if "SECRET-KEY" in text.upper() or "PRIVATE KEY" in text.upper():  # which no message may show
        raise TrustError(
            f"{where}: is a secret key, and a model is sealed for a public one; age-keygen -y tells it"
        )
    kind = pyrage.ssh if text.startswith("ssh-") else pyrage.x25519
    try:
        return kind.Recipient.from_str(text)
    except pyrage.RecipientError as error:
        raise TrustError(f"{where}: '{text}' is no public key that can be used; {_KNOWN}") from error


def read_identities(given: str | Path) -> list[Any]:
    """Return the identities of a file, or the one that a text is.

    Args:
        given: AGE-SECRET-KEY-1..., or a file of such lines, or one with a private key of ssh.

    Raises:
        TrustError: there is no key in it that can be used.
        UsageError: pyrage is not installed.
    """
    with needing("identity", "pyrage", "seal"):
        import pyrage
    if isinstance(given, str) and is_key(given):
        return [_identity(given, "`identity`")]
    path = Path(given)
    data = read_small("identity", path, is_read_once=True)
    if is_sealed(data):
        raise TrustError(f"`identity` {path}: is itself sealed; open it first: age -d {path} > KEYFILE")
    if b"PRIVATE KEY-----" in data:
        try:
            return [pyrage.ssh.Identity.from_buffer(data)]
        except pyrage.IdentityError as error:
            raise TrustError(
                f"`identity` {path}: the private key of ssh cannot be used: {error}; one without a "
                "password is needed: ssh-keygen -p on a copy removes it"
            ) from error
    lines = lines_of("identity", path, data)
    found = [_identity(line, f"`identity` {path}: line {number}") for number, line in lines]
    if not found:
        raise TrustError(f"`identity` {path}: holds no key; age-keygen makes one")
    return found


def _identity(text: str, where: str) -> Any:
    import pyrage

    try:
        return pyrage.x25519.Identity.from_str(text)
    except pyrage.IdentityError as error:  # what stands there is not shown: it may be secret
        is_public = text.startswith(("age1", "ssh-"))
        finding = "is a public key, which opens nothing" if is_public else "is no secret key of age"
        raise TrustError(
            f"{where}: {finding}; name the file that age-keygen or ssh-keygen made"
        ) from error


def added_bytes(n_bytes: int, recipients: Sequence[Any]) -> int:
    """Return how many bytes the sealed form of a file of so many has more, at most."""
    import pyrage

    header = len(pyrage.encrypt(b"", recipients))
    return header + _GREASE_BYTES + _TAG_BYTES * (n_bytes // _PIECE_BYTES)


def seal_file(plain: Path, digest: str, new: Replacement, recipients: Sequence[Any]) -> tuple[int, str]:
    """Write a file's sealed form; what was sealed is what was checked, and what is on the disk is that.

    Args:
        plain: the file that was checked.
        digest: SHA-256 of what was checked.
        new: where to write; complete afterwards, and not in its place yet.
        recipients: who may read it.

    Returns:
        The size of the sealed file, and its SHA-256.

    Raises:
        VerificationError: something else was sealed, or reached the disk.
        OSError: a file cannot be read or written.
    """
    import pyrage

    with plain.open("rb") as file:
        source, sealed = _Digesting(file), _Digesting(new.file)
        try:
            pyrage.encrypt_io(source, sealed, recipients)
        except pyrage.EncryptError as error:
            raise TrustError(f"{new.path}: cannot be sealed: {error}; nothing is written") from error
    new.complete()
    with new.temporary.open("rb") as file:
        written = hashlib.file_digest(file, "sha256").hexdigest()
    if source.hexdigest != digest or written != sealed.hexdigest:
        raise VerificationError(
            f"{new.path}: what was sealed is not what was checked; nothing is written: see whether "
            "memory and disk are sound"
        )
    return new.temporary.stat().st_size, written


class _Digesting:
    """A file whose SHA-256 is taken while it is read or written."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._digest = hashlib.sha256()

    def read(self, n_bytes: int = -1) -> bytes:
        data = self._file.read(n_bytes)
        self._digest.update(data)
        return data

    def write(self, data: bytes) -> int:
        self._digest.update(data)
        return self._file.write(data)

    def flush(self) -> None:
        self._file.flush()

    @property
    def hexdigest(self) -> str:
        return self._digest.hexdigest()


def unseal(data: bytes, identity: str | Path, name: str) -> bytes:
    """Return what is sealed, in memory alone.

    Args:
        data: the sealed file.
        identity: who opens it, see `read_identities`.
        name: what to call the file in messages.

    Raises:
        TrustError: no key fits, or the file was changed or cut short.
    """
    identities = read_identities(identity)
    import pyrage

    if not is_sealed(data):
        raise TrustError(f"{name}: is not sealed; leave `identity` out")
    try:
        return bytes(pyrage.decrypt(data, identities))
    except pyrage.DecryptError as error:
        if "No matching keys" in str(error):
            raise TrustError(
                f"{name}: is sealed for others than the keys given; pass one of those with `identity`"
            ) from error
        finding = " ".join(str(error).split("\n")[0].split()).rstrip(".")
        raise TrustError(
            f"{name}: was changed or cut short after it was sealed ({finding}); fetch it again"
        ) from error
