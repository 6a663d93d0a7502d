"""Sealed models with real keys: they open in memory, for whom they are for, and whole or not at all."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest

import onnxzip
from onnxzip.disk.replacing import Replacement
from onnxzip.errors import ModelError, OutputError, TrustError, UsageError, VerificationError
from onnxzip.graph.writing import files
from onnxzip.trust import seal
from tests.trust.keys import FAST, MODEL, age_pair, flipped, pem_pair, run

pyrage = pytest.importorskip("pyrage", reason="needs onnxzip[seal]")
SETTINGS: dict[str, Any] = {"level": 1, "passes": "scalar"}
IMAGES = np.random.default_rng(0).random((3, 64), np.float32)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a key, a plain compressed model, and the same sealed for it."""
    folder = tmp_path_factory.mktemp("sealed")
    public, _ = age_pair(folder)
    onnxzip.compress(MODEL, folder / "m.onnx", **SETTINGS)
    onnxzip.compress(MODEL, folder / "m.onnx.age", seal=public, **SETTINGS)
    return folder


def answers(session: onnxruntime.InferenceSession) -> list[np.ndarray]:
    (spec,) = session.get_inputs()
    shape = [3 if not isinstance(size, int) else size for size in spec.shape]
    return session.run(None, {spec.name: np.resize(IMAGES, shape)})  # type: ignore[no-any-return]


def test_what_is_sealed_is_what_was_checked(made: Path) -> None:
    identity = pyrage.x25519.Identity.from_str((made / "id.txt").read_text().splitlines()[-1])
    plain = pyrage.decrypt((made / "m.onnx.age").read_bytes(), [identity])
    assert plain == (made / "m.onnx").read_bytes()


def test_it_loads_for_its_key_and_computes_the_same(made: Path) -> None:
    wanted = answers(onnxruntime.InferenceSession(made / "m.onnx"))
    secret = (made / "id.txt").read_text().splitlines()[-1]
    for identity in (made / "id.txt", str(made / "id.txt"), secret):
        session = onnxzip.load(made / "m.onnx.age", identity, providers=["CPUExecutionProvider"])
        assert isinstance(session, onnxruntime.InferenceSession)
        for found, value in zip(answers(session), wanted, strict=True):
            np.testing.assert_array_equal(found, value)


def test_loading_writes_nothing(made: Path, tmp_path: Path) -> None:
    """Python's audit hook sees each file that is opened, and each that is made."""
    code = """if True:
        import os, sys
        import onnxzip
        from onnxzip.trust import receiving
        from onnxzip.runtime import loadable
        import pyrage
        written = []
        def watch(event, arguments):
            if event == "open" and (arguments[2] or 0) & (os.O_WRONLY | os.O_RDWR):
                written.append(arguments[0])
            if event in ("os.mkdir", "os.rename", "os.link", "socket.connect", "subprocess.Popen"):
                written.append(event)
        sys.addaudithook(watch)
        onnxzip.load(sys.argv[1], sys.argv[2])
        print(written, os.listdir(os.environ["TMPDIR"]))"""
    done = subprocess.run(
        [sys.executable, "-c", code, made / "m.onnx.age", made / "id.txt"],
        env={"TMPDIR": str(tmp_path), "PATH": "/bin", "OMP_NUM_THREADS": "1"},
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stdout, done.returncode) == ("[] []\n", 0), done.stderr


def test_the_command_line_lists_tests_and_decompresses_it(made: Path, tmp_path: Path) -> None:
    sealed, key = made / "m.onnx.age", made / "id.txt"
    listed = json.loads(run("-l", sealed, "--open", key, "--json").stdout)
    assert listed["weights"] == json.loads(run("-l", made / "m.onnx", "--json").stdout)["weights"]
    tested = run("-t", sealed, "--open", key, "--against", MODEL, "--report", tmp_path / "r.json")
    assert tested.returncode == 0
    assert "passed" in tested.stdout
    assert run("-d", "-q", sealed, tmp_path / "plain.onnx", "--open", key).returncode == 0
    run("-d", "-q", made / "m.onnx", tmp_path / "wanted.onnx")
    assert (tmp_path / "plain.onnx").read_bytes() == (tmp_path / "wanted.onnx").read_bytes()
    kept = run("-d", "-f", sealed, key, "--open", key)
    assert (kept.returncode, kept.stderr.count("\n")) == (1, 1)
    assert "is the key that opens the model" in kept.stderr
    assert onnxzip.inspect(sealed, identity=key).n_bytes == onnxzip.inspect(made / "m.onnx").n_bytes
    assert onnxzip.decompress(sealed, identity=key) == onnxzip.decompress(made / "m.onnx")


def test_wrong_keys_and_changed_files_are_one_line(made: Path, tmp_path: Path) -> None:
    sealed, size = made / "m.onnx.age", (made / "m.onnx.age").stat().st_size
    _, other = age_pair(tmp_path, "other.txt")
    cases: list[tuple[bytes, Path, str]] = [
        (
            sealed.read_bytes(),
            other,
            "is sealed for others than the keys given; pass one of those with --open",
        ),
        (sealed.read_bytes()[:-1], made / "id.txt", "was changed or cut short"),
        (sealed.read_bytes()[: size // 2], made / "id.txt", "was changed or cut short"),
        (sealed.read_bytes()[:60], made / "id.txt", "was changed or cut short"),
        (flipped(sealed, -1), made / "id.txt", "was changed or cut short"),
        (flipped(sealed, 60), made / "id.txt", ""),
        (flipped(sealed, size // 2), made / "id.txt", "was changed or cut short"),
        ((made / "m.onnx").read_bytes(), made / "id.txt", "is not sealed; leave --open out"),
    ]
    bad = tmp_path / "bad.age"
    for data, key, finding in cases:
        bad.write_bytes(data)
        done = run("-d", bad, tmp_path / "out.onnx", "--open", key)
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1), done.stderr
        assert finding in done.stderr
        assert str(bad) in done.stderr
        with pytest.raises(TrustError):
            onnxzip.load(bad, key)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["bad.age", "other.txt"]


def test_without_a_key_it_is_named(made: Path) -> None:
    done = run("-l", made / "m.onnx.age")
    assert done.returncode == 1
    assert "m.onnx.age: is sealed by age; pass a key that opens it with --open" in done.stderr
    with pytest.raises(ModelError, match="is sealed by age; pass a key that opens it with identity"):
        onnxzip.inspect(made / "m.onnx.age")


def test_recipients_are_keys_and_files_of_them(tmp_path: Path) -> None:
    first, key = age_pair(tmp_path)
    second, other = age_pair(tmp_path, "other.txt")
    (tmp_path / "team.txt").write_text(f"# the team\n\n{first}\n{second}\n")
    call = (
        *FAST,
        MODEL,
        tmp_path / "m.age",
        "--seal",
        tmp_path / "team.txt",
        "--report",
        tmp_path / "m.json",
    )
    assert run(*call).returncode == 0
    for identity in (key, other):
        onnxzip.load(tmp_path / "m.age", identity)
    report = onnxzip.read_report(tmp_path / "m.json")
    assert report.settings["sealed_for"] == 2
    assert report.bytes_after == (tmp_path / "m.age").stat().st_size
    plain = seal.unseal((tmp_path / "m.age").read_bytes(), key, "m")
    import hashlib

    assert report.settings["sealed_sha256"] == hashlib.sha256(plain).hexdigest()
    assert report.output_sha256 == hashlib.sha256((tmp_path / "m.age").read_bytes()).hexdigest()


@pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="needs ssh-keygen")
def test_keys_of_ssh(tmp_path: Path) -> None:
    for kind, password in (("ed25519", ""), ("ecdsa", ""), ("ed25519", "secret")):
        name = tmp_path / f"{kind}{password}"
        subprocess.run(
            ["ssh-keygen", "-q", "-t", kind, "-N", password, "-f", name], check=True, timeout=60
        )
    public = (tmp_path / "ed25519.pub").read_text()
    onnxzip.compress(MODEL, tmp_path / "m.age", seal=public, **SETTINGS)
    onnxzip.load(tmp_path / "m.age", tmp_path / "ed25519")
    with pytest.raises(TrustError, match="is sealed for others"):
        onnxzip.load(tmp_path / "m.age", age_pair(tmp_path)[1])
    with pytest.raises(
        TrustError, match=r"the private key of ssh cannot be used: .* without a password"
    ):
        onnxzip.load(tmp_path / "m.age", tmp_path / "ed25519secret")
    with pytest.raises(TrustError, match="is no public key that can be used"):
        onnxzip.compress(MODEL, tmp_path / "n.age", seal=(tmp_path / "ecdsa.pub"))


def test_bad_recipients_and_identities_are_refused_before_any_work(tmp_path: Path) -> None:
    public, key = age_pair(tmp_path)
    secret = key.read_text().splitlines()[-1]
    (tmp_path / "empty.txt").write_text("# nobody\n")
    (tmp_path / "wrong.txt").write_text(f"{public}\nhello\n")
    for recipient, finding in (
        (secret, "is a secret key, and a model is sealed for a public one; age-keygen -y"),
        (key, "is a secret key"),
        (public[:-1] + "x", "is no public key that can be used"),
        (tmp_path / "empty.txt", "holds no public key"),
        (tmp_path / "wrong.txt", "line 2: 'hello' is no public key"),
        (tmp_path / "absent.txt", "there is no such file"),
        (MODEL, "is no text"),
    ):
        with pytest.raises(TrustError, match=finding) as caught:
            onnxzip.compress("absent.onnx", tmp_path / "m.age", seal=recipient)
        assert secret not in str(caught.value)
    with pytest.raises(UsageError, match="seal needs a file"):
        onnxzip.compress(MODEL, seal=public)
    (tmp_path / "public.txt").write_text(public)
    sealed = tmp_path / "m.age"
    sealed.write_bytes(pyrage.encrypt(b"no model", [pyrage.x25519.Recipient.from_str(public)]))
    for identity, finding in (
        (tmp_path / "public.txt", "line 1: is a public key, which opens nothing"),
        (tmp_path / "empty.txt", "holds no key"),
        (tmp_path / "wrong.txt", "opens nothing"),
        (sealed, "is itself sealed"),
        (secret[:-1], "is no secret key of age"),
    ):
        with pytest.raises(TrustError, match=finding) as caught:
            onnxzip.load(sealed, identity)
        assert secret[20:-1] not in str(caught.value)
    with pytest.raises(ModelError, match=r"m\.age: "):
        onnxzip.load(sealed, key)


def test_external_data_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    public, key = age_pair(tmp_path)
    onnx.save(onnx.load(MODEL), tmp_path / "e.onnx", save_as_external_data=True, location="e.data")
    data = pyrage.encrypt((tmp_path / "e.onnx").read_bytes(), [pyrage.x25519.Recipient.from_str(public)])
    (tmp_path / "e.age").write_bytes(data)
    monkeypatch.chdir(tmp_path)  # where onnxruntime would look for e.data
    with pytest.raises(ModelError, match=r"e\.age: .*e\.data|external"):
        onnxzip.load("e.age", key)
    monkeypatch.setattr(files, "MAX_INLINE_BYTES", 1000)
    monkeypatch.setattr("onnxzip.graph.MAX_INLINE_BYTES", 1000)
    with pytest.raises(OutputError, match="more than 2 GiB, and so two files, and a sealed one is one"):
        onnxzip.compress(MODEL, tmp_path / "m.age", seal=public, **SETTINGS)
    assert not (tmp_path / "m.age").exists()


def test_what_the_disk_changes_is_not_put_in_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    public, _ = age_pair(tmp_path)
    complete = Replacement.complete

    def spoil(self: Replacement) -> None:
        complete(self)
        if self.path.suffix == ".age":
            self.temporary.write_bytes(flipped(self.temporary, -1))

    monkeypatch.setattr(Replacement, "complete", spoil)
    (tmp_path / "m.age").write_text("old")
    with pytest.raises(VerificationError, match="what was sealed is not what was checked"):
        onnxzip.compress(MODEL, tmp_path / "m.age", seal=public, overwrite=True, **SETTINGS)
    assert (tmp_path / "m.age").read_text() == "old"


def test_no_plain_model_stays_anywhere(tmp_path: Path) -> None:
    public, key = age_pair(tmp_path)
    (tmp_path / "tmp").mkdir()
    (tmp_path / "out").mkdir()
    environment = {"TMPDIR": str(tmp_path / "tmp")}
    out = tmp_path / "out" / "m.onnx.age"
    assert run(*FAST, MODEL, out, "--seal", public, environment=environment).returncode == 0
    for call in (("-l", out), ("-t", out), ("-d", out, tmp_path / "plain.onnx")):
        assert run(*call, "--open", key, environment=environment).returncode == 0
    assert list((tmp_path / "tmp").iterdir()) == []
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["m.onnx.age"]


def test_a_size_is_that_of_the_sealed_file(tmp_path: Path) -> None:
    public, _ = age_pair(tmp_path)
    n_bytes = MODEL.stat().st_size // 4
    onnxzip.compress(MODEL, tmp_path / "m.age", seal=[public] * 4, target_size=n_bytes, level=1)
    assert (tmp_path / "m.age").stat().st_size <= n_bytes


def test_a_name_that_is_not_given_says_that_it_is_sealed(tmp_path: Path) -> None:
    public, _ = age_pair(tmp_path)
    (tmp_path / "in").mkdir()
    source = Path(shutil.copy(MODEL, tmp_path / "in" / "net.onnx"))
    assert run(*FAST, source, "--seal", public).returncode == 0
    assert (tmp_path / "in" / "net.small.onnx.age").is_file()
    assert run(*FAST, tmp_path / "in", tmp_path / "out", "--seal", public).returncode == 0
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["net.onnx.age"]


def test_a_sealed_file_is_signed_as_it_is_shipped(made: Path, tmp_path: Path) -> None:
    key = pem_pair(tmp_path)
    public, identity = age_pair(tmp_path)
    out = tmp_path / "m.age"
    onnxzip.compress(MODEL, out, seal=public, sign=key, **SETTINGS)
    trusted = tmp_path / "key.pub"
    onnxzip.load(out, identity, public_key=trusted)
    assert all(check.passed for check in onnxzip.verify(out, identity=identity, public_key=trusted))
    # anybody can seal for a public key: only the signature tells
    recipient = pyrage.x25519.Recipient.from_str(public)
    out.write_bytes(pyrage.encrypt((made / "m.onnx").read_bytes(), [recipient]))
    onnxzip.load(out, identity)
    with pytest.raises(TrustError, match="is not the file that"):
        onnxzip.load(out, identity, public_key=trusted)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs pipes with names")
def test_keys_come_by_pipes_that_are_read_once(made: Path, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with subprocess.Popen(["cp", made / "id.txt", pipe]):
        onnxzip.load(made / "m.onnx.age", pipe)
