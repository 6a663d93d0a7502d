"""Signatures with real keys: they fit, also for the package's own verifier, and any change shows."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import onnx
import pytest

import onnxzip
from onnxzip.cli.main import main
from onnxzip.errors import OutputError, TrustError, UsageError
from onnxzip.trust.sign import Original, Signer, read_signature
from tests.trust.keys import FAST, MODEL, PASSWORD, flipped, pem_pair, run

pytest.importorskip("model_signing", reason="needs onnxzip[sign]")
SETTINGS: dict[str, Any] = {"level": 1, "passes": "scalar"}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a key pair, a compressed model, its report and their signature."""
    folder = tmp_path_factory.mktemp("signed")
    key = pem_pair(folder)
    done = run(*FAST, MODEL, folder / "m.onnx", "--sign", key, "--report", ".json")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    return folder


@pytest.fixture
def signed(made: Path, tmp_path: Path) -> Path:
    """Return a copy of that folder, to be changed."""
    return Path(shutil.copytree(made, tmp_path / "copy"))


def test_one_signature_holds_model_report_and_original(
    signed: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["-t", str(signed / "m.onnx"), "--verify", str(signed / "key.pub")]) == 0
    out = " ".join(capsys.readouterr().out.split())
    digest = hashlib.sha256(MODEL.read_bytes()).hexdigest()
    assert "m.json, m.onnx" in out
    assert f"made from {MODEL.name} (sha256 {digest})" in out
    found = read_signature(signed / "m.onnx", signed / "key.pub")
    assert {name: hashlib.sha256((signed / name).read_bytes()).hexdigest() for name in found.files} == {
        **found.files
    }
    report = onnxzip.read_report(signed / "m.json")
    assert report.output_sha256 == found.files["m.onnx"]
    assert report.source_sha256 == digest


def test_the_packages_own_verifier_accepts_it(signed: Path) -> None:
    from model_signing import verifying

    config = verifying.Config().use_elliptic_key_verifier(public_key=signed / "key.pub")
    config.set_ignore_unsigned_files(True).verify(signed, signed / "m.onnx.sig")


def test_signatures_of_the_package_itself_are_accepted(tmp_path: Path) -> None:
    from model_signing import signing

    key = pem_pair(tmp_path)
    shutil.copy(MODEL, tmp_path / "m.onnx")
    signer = signing.Config().use_elliptic_key_signer(private_key=key)
    signer.sign(tmp_path / "m.onnx", tmp_path / "m.onnx.sig")
    found = read_signature(tmp_path / "m.onnx", tmp_path / "key.pub")
    assert set(found.files) == {"m.onnx"}
    assert found.original is None
    onnxzip.load(tmp_path / "m.onnx", public_key=tmp_path / "key.pub")


@pytest.mark.parametrize("name", ["m.onnx", "m.json"])
@pytest.mark.parametrize("place", [0, 1000, -1])
def test_a_changed_byte_fails_with_one_line(
    name: str, place: int, signed: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (signed / name).write_bytes(flipped(signed / name, place) if place != 1000 else b"cut short")
    assert main(["-t", str(signed / "m.onnx"), "--verify", str(signed / "key.pub")]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert name in err


def test_a_changed_signature_fails(signed: Path) -> None:
    place = signed / "m.onnx.sig"
    whole = place.read_bytes()
    bundle = json.loads(whole)
    envelope = bundle["dsseEnvelope"]
    starts = [
        whole.index(envelope["payload"].encode()),
        whole.index(envelope["signatures"][0]["sig"].encode()),
    ]
    for start in (*range(starts[0], starts[0] + 400, 37), *range(starts[1], starts[1] + 90, 9)):
        place.write_bytes(whole)
        place.write_bytes(flipped(place, start))
        with pytest.raises(TrustError, match=r"m\.onnx\.sig: is none of this key, or was changed"):
            read_signature(signed / "m.onnx", signed / "key.pub")
    for damaged in (b"", b"{}", b"[" * 100_000, whole[:-20], b"\xff", b'{"verificationMaterial": 1}'):
        place.write_bytes(damaged)
        with pytest.raises(TrustError):
            read_signature(signed / "m.onnx", signed / "key.pub")


def test_a_manifest_that_was_written_anew_does_not_fit(signed: Path) -> None:
    """Who changes the model and its digest in the manifest has no key to sign that with."""
    place = signed / "m.onnx.sig"
    (signed / "m.onnx").write_bytes(flipped(signed / "m.onnx", -1))
    bundle = json.loads(place.read_text())
    payload = base64.b64decode(bundle["dsseEnvelope"]["payload"]).decode()
    old = read_signature(signed / "m.onnx", signed / "key.pub").files["m.onnx"]
    new = hashlib.sha256((signed / "m.onnx").read_bytes()).hexdigest()
    bundle["dsseEnvelope"]["payload"] = base64.b64encode(payload.replace(old, new).encode()).decode()
    place.write_text(json.dumps(bundle))
    with pytest.raises(TrustError):
        onnxzip.verify(signed / "m.onnx", public_key=signed / "key.pub")


def test_a_signed_name_that_no_file_can_have_is_of_a_file_that_is_missing(signed: Path) -> None:
    path, name = signed / "m.onnx", "x" * 3000
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    signer = Signer(signed / "key.pem", None)
    content = signer.sign(path.name, {path.name: digest, name: digest}, Original("a", digest))
    (signed / "m.onnx.sig").write_bytes(content)
    assert read_signature(path, signed / "key.pub").check(path, digest) == (name,)


def test_other_keys_and_names_are_refused(signed: Path, tmp_path: Path) -> None:
    pem_pair(tmp_path, "other")
    with pytest.raises(TrustError, match="was made with another key"):
        onnxzip.verify(signed / "m.onnx", public_key=tmp_path / "other.pub")
    for name in ("n.onnx", "n.onnx.sig"):
        shutil.copy(signed / name.replace("n.", "m.", 1), signed / name)
    with pytest.raises(TrustError, match=r"signs no file of this name but m\.json, m\.onnx; give it"):
        onnxzip.verify(signed / "n.onnx", public_key=signed / "key.pub")
    (signed / "m.onnx.sig").unlink()
    with pytest.raises(TrustError, match=r"has no signature beside it, m\.onnx\.sig"):
        onnxzip.verify(signed / "m.onnx", public_key=signed / "key.pub")


def test_a_report_that_is_not_here_is_told_and_no_fault(
    signed: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (signed / "m.json").unlink()
    arguments = ["-t", str(signed / "m.onnx"), "--verify", str(signed / "key.pub"), "--json"]
    assert main(arguments) == 0
    assert "not here: m.json" in json.loads(capsys.readouterr().out)["signature"]


def test_external_data_have_to_be_signed_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    key = pem_pair(tmp_path)
    path = tmp_path / "m.onnx"
    onnx.save(onnx.load(MODEL), path, save_as_external_data=True, location="m.data")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    files = {"m.onnx": digest}

    def write() -> None:
        from onnxzip.trust.sign import Original

        signature = Signer(key, None).sign("m.onnx", files, Original("", ""))
        (tmp_path / "m.onnx.sig").write_bytes(signature)

    from onnxzip.trust.receiving import received

    write()
    with pytest.raises(TrustError, match=r"m\.data: .* signs no file of this name"):
        received(path, None, tmp_path / "key.pub")
    files["m.data"] = hashlib.sha256((tmp_path / "m.data").read_bytes()).hexdigest()
    write()
    received(path, None, tmp_path / "key.pub")
    (tmp_path / "blobs").mkdir()
    for name in ("m.onnx", "m.data"):  # as the cache of Hugging Face is laid out
        (tmp_path / name).rename(tmp_path / "blobs" / name)
        (tmp_path / name).symlink_to(Path("blobs") / name)
    monkeypatch.chdir(tmp_path)
    _, found = received(Path("m.onnx"), None, tmp_path / "key.pub")
    assert found is not None
    assert found.missing == ()
    (tmp_path / "m.data").write_bytes(flipped(tmp_path / "m.data", 10))
    with pytest.raises(TrustError, match=r"m\.data: is not the file"):
        received(path, None, tmp_path / "key.pub")


def test_data_above_two_gigabytes_are_signed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("onnxzip.graph.writing.files.MAX_INLINE_BYTES", 1000)
    monkeypatch.setattr("onnxzip.graph.MAX_INLINE_BYTES", 1000)
    key = pem_pair(tmp_path)
    onnxzip.compress(MODEL, tmp_path / "m.onnx", sign=key, **SETTINGS)
    (data,) = tmp_path.glob("m.onnx.*.data")
    assert set(read_signature(tmp_path / "m.onnx", tmp_path / "key.pub").files) == {"m.onnx", data.name}
    onnxzip.verify(tmp_path / "m.onnx", public_key=tmp_path / "key.pub")
    data.write_bytes(flipped(data, -1))
    with pytest.raises(TrustError, match="is not the file that"):
        onnxzip.verify(tmp_path / "m.onnx", public_key=tmp_path / "key.pub")


@pytest.mark.parametrize("name", ["../m.onnx", "/etc/passwd", "a/../../b"])
def test_files_elsewhere_are_not_looked_at(name: str, tmp_path: Path) -> None:
    from onnxzip.trust.sign import Original

    signature = Signer(pem_pair(tmp_path), None).sign("m.onnx", {name: "00" * 32}, Original("", ""))
    (tmp_path / "m.onnx.sig").write_bytes(signature)
    (tmp_path / "m.onnx").write_bytes(MODEL.read_bytes())
    with pytest.raises(TrustError, match="signs files that lie elsewhere"):
        read_signature(tmp_path / "m.onnx", tmp_path / "key.pub")


@pytest.mark.parametrize("curve", ["SECP384R1", "SECP521R1"])
def test_python_signs_on_every_curve(curve: str, tmp_path: Path) -> None:
    key = pem_pair(tmp_path, curve=curve)
    onnxzip.compress(MODEL, tmp_path / "m.onnx", sign=key, **SETTINGS)
    assert all(c.passed for c in onnxzip.verify(tmp_path / "m.onnx", public_key=tmp_path / "key.pub"))


def test_keys_that_cannot_be_used_are_refused_before_any_work(tmp_path: Path) -> None:
    key, locked = pem_pair(tmp_path), pem_pair(tmp_path, "locked", password=PASSWORD)
    for other, finding in (
        (tmp_path / "key.pub", "holds no private key in PEM; make one: openssl"),
        (pem_pair(tmp_path, "ed", "ed25519"), "is no key on P-256, P-384 or P-521"),
        (tmp_path / "absent.pem", "there is no such file"),
        (MODEL, "holds no private key"),
        (Path(os.devnull), "is a device or a pipe"),
        (tmp_path, "cannot be read"),
        (locked, "has a password; pass it with key_password"),
    ):
        with pytest.raises(TrustError, match=finding):
            onnxzip.compress("absent.onnx", tmp_path / "m.onnx", sign=other)
    with pytest.raises(TrustError, match="key_password is not its password"):
        onnxzip.compress("absent.onnx", tmp_path / "m.onnx", sign=locked, key_password="wrong")
    with pytest.raises(UsageError, match="sign needs a file"):
        onnxzip.compress(MODEL, sign=key)
    with pytest.raises(TrustError, match="holds no public key in PEM; make it: openssl"):
        onnxzip.verify(MODEL, public_key=key)
    assert not (tmp_path / "m.onnx").exists()


def test_passwords_come_from_the_environment(tmp_path: Path) -> None:
    key = pem_pair(tmp_path, password=PASSWORD)
    call = (*FAST, MODEL, tmp_path / "m.onnx", "--sign", key, "--report", tmp_path / "m.json")
    asked = run(*call)
    assert asked.returncode == 2
    assert asked.stderr == f"onnxzip: --sign {key}: has a password; put it into ONNXZIP_KEY_PASSWORD\n"
    wrong = run(*call, environment={"ONNXZIP_KEY_PASSWORD": "wrong"})
    assert (wrong.returncode, wrong.stderr.count("\n")) == (1, 1)
    assert "ONNXZIP_KEY_PASSWORD is not its password" in wrong.stderr
    assert not (tmp_path / "m.onnx").exists()
    done = run(*call, environment={"ONNXZIP_KEY_PASSWORD": PASSWORD})
    assert (done.returncode, done.stderr) == (0, "")
    assert PASSWORD not in (tmp_path / "m.json").read_text()
    assert f"--sign {key}" in onnxzip.read_report(tmp_path / "m.json").command


def test_passwords_are_asked_for_at_a_terminal(tmp_path: Path) -> None:
    pty = pytest.importorskip("pty", reason="needs terminals of POSIX")
    key = pem_pair(tmp_path, password=PASSWORD)
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "onnxzip", *FAST, MODEL, tmp_path / "m.onnx", "--sign", key]
    with subprocess.Popen(command, stdin=theirs, stderr=theirs, start_new_session=True) as running:
        os.close(theirs)
        said = b""
        while f"Password of {key}: ".encode() not in said:  # what is typed before is thrown away
            said += os.read(ours, 1000)
        os.write(ours, f"{PASSWORD}\n".encode())
        assert running.wait(timeout=120) == 0
    os.close(ours)
    onnxzip.verify(tmp_path / "m.onnx", public_key=tmp_path / "key.pub")


def test_nothing_is_overwritten_unasked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    key, out = pem_pair(tmp_path), tmp_path / "m.onnx"
    before = key.read_bytes()
    signature = tmp_path / "m.onnx.sig"
    signature.write_text("old")
    with pytest.raises(OutputError, match=r"m\.onnx\.sig: exists already; use overwrite"):
        onnxzip.compress(MODEL, out, sign=key, **SETTINGS)
    with pytest.raises(OutputError, match="is a key of this run"):
        onnxzip.compress(MODEL, key, sign=key, overwrite=True, **SETTINGS)
    source = tmp_path / "n.onnx.sig"  # its signature would go over the input
    shutil.copy(MODEL, source)
    with pytest.raises(OutputError, match="is the input itself"):
        onnxzip.compress(source, tmp_path / "n.onnx", sign=key, overwrite=True, **SETTINGS)
    (tmp_path / "reports").mkdir()
    done = run(*FAST, "-f", MODEL, out, "--sign", key, "--report", tmp_path / "reports" / "m.json")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "name a file in the same folder" in done.stderr
    done = run(
        *FAST, "-f", MODEL, out, "--sign", key, "--report", key.with_name("m.onnx.json"), "-c", key
    )
    assert done.returncode == 1
    assert (signature.read_text(), key.read_bytes(), out.exists()) == ("old", before, False)
    onnxzip.compress(MODEL, out, sign=key, overwrite=True, **SETTINGS)
    onnxzip.verify(out, public_key=tmp_path / "key.pub")


def test_a_failure_leaves_no_signature(tmp_path: Path) -> None:
    key = pem_pair(tmp_path)
    out, signature = tmp_path / "m.onnx", tmp_path / "m.onnx.sig"
    out.write_text("old model")
    signature.write_text("old signature")
    done = run(*FAST, "-f", MODEL, out, "--sign", key, "--tolerance", "1e-9")
    assert done.returncode == 3
    assert (out.read_text(), signature.read_text()) == ("old model", "old signature")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["key.pem", "key.pub", "m.onnx", "m.onnx.sig"]


def test_folders_are_signed_file_by_file(tmp_path: Path) -> None:
    key = pem_pair(tmp_path)
    (tmp_path / "in").mkdir()
    for name in ("a.onnx", "b.onnx"):
        shutil.copy(MODEL, tmp_path / "in" / name)
    done = run(*FAST, tmp_path / "in", tmp_path / "out", "--sign", key, "--report", ".md")
    assert (done.returncode, done.stderr) == (0, "")
    for name in ("a.onnx", "b.onnx"):
        found = read_signature(tmp_path / "out" / name, tmp_path / "key.pub")
        assert set(found.files) == {name, name.replace("onnx", "md")}
