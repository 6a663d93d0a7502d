"""Changes of what goes with a compressed file: signatures, seals, reports."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from tests.fuzz.extremes import pick
from tests.fuzz.marks import change_bytes, change_value

HAS_SIGN = find_spec("model_signing") is not None
HAS_SEAL = find_spec("pyrage") is not None

PUBLIC_KEY, SECRET_KEY, SIGNATURE = "key.pub", "id.txt", "in.onnx.sig"


@dataclass(frozen=True)
class Keys:
    """Keys to sign and seal with; made once, so that only their own bytes differ from run to run.

    Attributes:
        private: PEM file of a key on P-256, None without model_signing.
        public: what is in that of its public key.
        recipient: public key of age, "" without pyrage.
        identity: what is in the file of its secret key.
    """

    private: Path | None
    public: bytes
    recipient: str
    identity: bytes


def make_keys(folder: Path) -> Keys:
    """Make keys, for the packages that are installed."""
    private, public, recipient, identity = None, b"", "", b""
    if HAS_SIGN:
        from cryptography.hazmat.primitives import serialization as form
        from cryptography.hazmat.primitives.asymmetric import ec

        key = ec.generate_private_key(ec.SECP256R1())
        private = folder / "key.pem"
        private.write_bytes(
            key.private_bytes(form.Encoding.PEM, form.PrivateFormat.PKCS8, form.NoEncryption())
        )
        public = key.public_key().public_bytes(form.Encoding.PEM, form.PublicFormat.SubjectPublicKeyInfo)
    if HAS_SEAL:
        import pyrage

        secret = pyrage.x25519.Identity.generate()
        recipient, identity = str(secret.to_public()), f"{secret}\n".encode()
    return Keys(private, public, recipient, identity)


def change_signed(
    rng: np.random.Generator, data: bytes, keys: Keys
) -> tuple[bytes, dict[str, bytes], str]:
    """Sign a file; change the file, its signature, what is signed in it, the key, or nothing.

    Returns:
        The file, what lies beside it, and what was done.
    """
    from onnxzip.trust.sign import Original, Signer

    assert keys.private is not None
    import hashlib

    names = {"in.onnx": hashlib.sha256(data).hexdigest()}
    how = rng.integers(6)
    if how == 0:
        other = str(pick(rng, ("../in.onnx", "/etc/passwd", "report.json", ".", "a\nb", "x" * 3000)))
        names[other] = names["in.onnx"]
    signature = Signer(keys.private, None).sign("in.onnx", names, Original("a", "0" * 64))
    public, done = keys.public, "a signed name"
    if how == 1:
        data, done = change_bytes(rng, data, data), "signed bytes"
    elif how == 2:
        signature, done = change_bytes(rng, signature, public), "bytes of a signature"
    elif how == 3:
        public, done = change_bytes(rng, public, signature), "a public key"
    elif how == 4:
        signature, done = _changed_bundle(rng, signature), "a value of a signature"
    elif how == 5:
        done = "nothing signed"
    return data, {SIGNATURE: signature, PUBLIC_KEY: public}, done


def _changed_bundle(rng: np.random.Generator, signature: bytes) -> bytes:
    """Change a value of the bundle, or of the statement that is inside it, which then fits no key."""
    bundle = json.loads(signature)
    if rng.random() < 0.5:
        change_value(rng, bundle)
        return json.dumps(bundle).encode()
    envelope = bundle["dsseEnvelope"]
    statement = json.loads(base64.b64decode(envelope["payload"]))
    change_value(rng, statement)
    envelope["payload"] = base64.b64encode(json.dumps(statement).encode()).decode()
    return json.dumps(bundle).encode()


def change_sealed(
    rng: np.random.Generator, data: bytes, keys: Keys
) -> tuple[bytes, dict[str, bytes], str]:
    """Seal a file; change what is sealed, the seal, the key, or nothing; see `change_signed`."""
    import pyrage

    identity, done = keys.identity, "nothing sealed"
    how = rng.integers(5)
    if how == 0:
        data, done = change_bytes(rng, data, identity), "bytes before they were sealed"
    elif how == 1:
        recipient = pyrage.x25519.Recipient.from_str(keys.recipient)
        data, done = pyrage.encrypt(data, [recipient]), "sealed twice"
    sealed = pyrage.encrypt(data, [pyrage.x25519.Recipient.from_str(keys.recipient)])
    if how == 2:
        sealed, done = change_bytes(rng, sealed, data), "sealed bytes"
    elif how == 3:
        identity, done = change_bytes(rng, identity, sealed), "a secret key"
    return sealed, {SECRET_KEY: identity}, done


def change_report(rng: np.random.Generator, data: bytes) -> tuple[bytes, str]:
    """Change the bytes of a report, or some of its values; return it, and what was done."""
    if rng.random() < 0.3:
        return change_bytes(rng, data, data), "bytes of a report"
    record: dict[str, Any] = json.loads(data)
    for _ in range(int(pick(rng, (1, 1, 2, 5)))):
        change_value(rng, record)
    return json.dumps(record).encode(), "values of a report"
