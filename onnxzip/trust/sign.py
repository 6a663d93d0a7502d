"""Signs files, and checks signatures, in the format of OpenSSF model signing v1.0.

A signature is a Sigstore bundle around an in-toto statement, a manifest: the names of files that lie
beside it, and the SHA-256 of each. The original's stands in it as well, in a field `onnxzip` that other
verifiers ignore, as the format asks of them (model_signing/_signing/signing.py). The package's public
interface signs whole folders only; so its inner modules are used, of versions that pyproject.toml pins.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from onnxzip.errors import TrustError, path_advice, reason_of
from onnxzip.trust.delivery import needing, read_small, signature_of

_OWN = "onnxzip"
"""The field of the predicate that is ours."""

_MAKE_KEY = "make one: openssl ecparam -name prime256v1 -genkey -noout -out KEY.pem"
_MAKE_PUBLIC = "make it: openssl ec -in KEY.pem -pubout -out KEY.pub"


@dataclass(frozen=True)
class Original:
    """What a model was made from.

    Attributes:
        name: its file.
        sha256: that of the file, without external data; "" where it is not known.
    """

    name: str
    sha256: str


def is_encrypted(key: Path) -> bool:
    """Whether a private key has a password."""
    return b"ENCRYPTED" in read_small("sign", key)


class Signer:
    """Signs with a private key.

    Args:
        key: PEM file of a key on P-256, P-384 or P-521.
        password: that of the key, None where it has none.

    Raises:
        TrustError: it cannot be used.
        UsageError: model-signing is not installed.
    """

    def __init__(self, key: Path, password: bytes | None) -> None:
        with needing("sign", "model-signing", "sign"):
            from model_signing._signing import sign_ec_key
        data = read_small("sign", key)
        where = f"`sign` {key}"
        if b"PRIVATE KEY-----" not in data:
            raise TrustError(f"{where}: holds no private key in PEM; {_MAKE_KEY}")
        if is_encrypted(key) and not password:
            raise TrustError(f"{where}: has a password; pass it with `key_password`")
        try:
            self._signer = sign_ec_key.Signer(key, password if is_encrypted(key) else None)
        except AttributeError as error:  # of a key that is not on a curve
            raise TrustError(f"{where}: is no key on P-256, P-384 or P-521; {_MAKE_KEY}") from error
        except Exception as error:  # of several libraries, which share no base class
            is_wrong = "password" in str(error)
            finding = "`key_password` is not its password" if is_wrong else f"cannot be used: {error}"
            raise TrustError(f"{where}: {finding}; {'try again' if is_wrong else _MAKE_KEY}") from error

    def sign(self, name: str, files: Mapping[str, str], original: Original) -> bytes:
        """Return the signature of files.

        Args:
            name: what they are called together: the model.
            files: the SHA-256 of each, by its name beside the signature.
            original: what the model was made from.
        """
        from model_signing import manifest
        from model_signing._hashing.hashing import Digest
        from model_signing._signing import signing

        form = manifest.SerializationType.from_args(
            {"method": "files", "hash_type": "sha256", "allow_symlinks": False}
        )
        items = [form.new_item(n, Digest("sha256", bytes.fromhex(d))) for n, d in files.items()]
        payload = signing.Payload(manifest.Manifest(name, items, form))
        made_from = {"name": original.name, "sha256": original.sha256}
        payload.statement.pb.predicate.update({_OWN: {"original": made_from}})
        return str(self._signer.sign(payload).bundle.to_json()).encode()


@dataclass(frozen=True)
class Signed:
    """What a signature that fits its key says.

    Attributes:
        signature: where it lies.
        key: the public key that it fits.
        files: the SHA-256 of each file, by its name beside the signature.
        original: what the model was made from; None where another program signed.
    """

    signature: Path
    key: Path
    files: Mapping[str, str]
    original: Original | None

    def check(self, path: Path, digest: str, others: Sequence[Path] = ()) -> tuple[str, ...]:
        """Check a model that was read, and all files that were signed with it, as far as they are here.

        Args:
            path: the model.
            digest: SHA-256 of what was read there.
            others: files that were read for it, its external data.

        Returns:
            The names of signed files that are not here.

        Raises:
            TrustError: a file is not what was signed, or was not signed.
        """
        self._check_digest(path, path.name, digest)
        names = {(path.parent / name).resolve(): name for name in self.files}
        for other in others:  # be it named through links, as in the cache of Hugging Face
            self._check_digest(other, names.get(other.resolve(), other.name), digest_of(other))
        missing = []
        for file, name in names.items():
            if name == path.name:
                continue
            if not _is_there(file):
                missing.append(name)
            else:
                self._check_digest(file, name, digest_of(file))
        return tuple(missing)

    def _check_digest(self, path: Path, name: str, digest: str) -> None:
        if name not in self.files:
            raise TrustError(
                f"{path}: {self.signature} signs no file of this name but {', '.join(self.files)}; give "
                "it the name that it was signed under"
            )
        if self.files[name] != digest:
            raise TrustError(
                f"{path}: is not the file that {self.signature} signs: it was changed afterwards, or is "
                "another; fetch both again"
            )


def _is_there(path: Path) -> bool:
    """Whether there is a file; there is none of a name that no file can have."""
    try:
        return path.exists()
    except (OSError, ValueError):
        return False


def read_signature(path: Path, key: Path) -> Signed:
    """Return what the signature beside a file says, when it fits the key.

    Args:
        path: the file.
        key: PEM file of the public key.

    Raises:
        TrustError: there is no signature, it fits another key, or was changed; or the key is none.
        UsageError: model-signing is not installed.
    """
    with needing("public_key", "model-signing", "sign"):
        from model_signing._signing import sign_ec_key
        from model_signing._signing.sign_sigstore_pb import Signature
    where = f"`public_key` {key}"
    if b"PUBLIC KEY-----" not in read_small("public_key", key):
        raise TrustError(f"{where}: holds no public key in PEM; {_MAKE_PUBLIC}")
    try:
        verifier = sign_ec_key.Verifier(key)
    except Exception as error:  # of several libraries, which share no base class
        raise TrustError(f"{where}: is no key on P-256, P-384 or P-521; {_MAKE_KEY}") from error
    place = signature_of(path)
    _check_there(place, path)
    try:
        signature = Signature.read(place)
        with redirect_stdout(io.StringIO()):  # it prints what it thinks of old formats
            manifest = verifier.verify(signature)
        predicate = json.loads(signature.bundle.dsse_envelope.payload)["predicate"]
        files = {item.identifier: _sha256_of(item.digest) for item in manifest.resource_descriptors()}
        files = {path.name if name == "." else name: digest for name, digest in files.items()}
    except Exception as error:  # it may hold anything, and the package checks little of it
        is_other = "Key mismatch" in str(error)
        finding = "was made with another key" if is_other else "is none of this key, or was changed"
        raise TrustError(
            f"{place}: {finding}, so that {path} is not trusted; fetch both again"
        ) from error
    if any(PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts for name in files):
        raise TrustError(f"{place}: signs files that lie elsewhere; sign those beside it alone")
    return Signed(place, key, files, _original(predicate.get(_OWN)))


def _check_there(signature: Path, path: Path) -> None:
    if not path.exists():
        raise TrustError(f"{path}: there is no such file; {path_advice(path)}")
    if not signature.is_file():
        raise TrustError(f"{path}: has no signature beside it, {signature.name}; fetch that too")
    read_small("public_key", signature)


def _sha256_of(digest: Any) -> str:
    if digest.algorithm != "sha256":
        raise ValueError(digest.algorithm)
    return str(digest.digest_hex)


def _original(own: Any) -> Original | None:
    """Return what our field tells; other programs write none."""
    original = own.get("original") if isinstance(own, dict) else None
    if not isinstance(original, dict):
        return None
    return Original(str(original.get("name", "")), str(original.get("sha256", "")))


def digest_of(path: Path) -> str:
    """Return the SHA-256 of a file.

    Raises:
        TrustError: it cannot be read.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise TrustError(f"{path}: cannot be read; {reason_of(error)}") from error
