"""Real keys, made anew for each test, and a small model that was compressed with them."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

_FOLDER = tempfile.TemporaryDirectory()
MODEL = Path(_FOLDER.name) / "layer.onnx"
"""One layer, which is compressed in half a second."""

FAST = ["-1", "-q", "--passes", "scalar"]
PASSWORD = "correct horse"

_WEIGHT = np.random.default_rng(0).standard_normal((64, 128)).astype(np.float32)
onnx.save(
    helper.make_model(
        helper.make_graph(
            [helper.make_node("MatMul", ["x", "W"], ["h"]), helper.make_node("Relu", ["h"], ["y"])],
            "layer",
            [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["n", 64])],
            [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, ["n", 128])],
            [numpy_helper.from_array(_WEIGHT, "W")],
        ),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=8,
    ),
    MODEL,
)


def pem_pair(folder: Path, name: str = "key", curve: str = "SECP256R1", password: str = "") -> Path:
    """Write NAME.pem and NAME.pub; return the private one.

    Args:
        folder: where they go.
        name: what they are called.
        curve: a class of cryptography's ec, or "ed25519".
        password: that of the private key.
    """
    pytest.importorskip("model_signing", reason="needs onnxzip[sign]")
    from cryptography.hazmat.primitives import serialization as form
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519

    is_edwards = curve == "ed25519"
    key = (
        ed25519.Ed25519PrivateKey.generate()
        if is_edwards
        else ec.generate_private_key(getattr(ec, curve)())
    )
    locked = form.BestAvailableEncryption(password.encode()) if password else form.NoEncryption()
    private = folder / f"{name}.pem"
    private.write_bytes(key.private_bytes(form.Encoding.PEM, form.PrivateFormat.PKCS8, locked))
    public = key.public_key().public_bytes(form.Encoding.PEM, form.PublicFormat.SubjectPublicKeyInfo)
    private.with_suffix(".pub").write_bytes(public)
    return private


def age_pair(folder: Path, name: str = "id.txt") -> tuple[str, Path]:
    """Return a public key, and the file with the secret one, as age-keygen writes it."""
    pyrage = pytest.importorskip("pyrage", reason="needs onnxzip[seal]")
    identity = pyrage.x25519.Identity.generate()
    public = str(identity.to_public())
    path = folder / name
    path.write_text(f"# created: 2026-01-01T00:00:00Z\n# public key: {public}\n{identity}\n")
    return public, path


def run(
    *arguments: object, environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run the command line, with nobody at the terminal."""
    return subprocess.run(
        [sys.executable, "-m", "onnxzip", *map(str, arguments)],
        env={**os.environ, "OMP_NUM_THREADS": "1", **(environment or {})},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def flipped(path: Path, place: int) -> bytes:
    """Return what a file holds, with a bit turned: in the byte at a place, below 0 from the end."""
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    return bytes(data)
