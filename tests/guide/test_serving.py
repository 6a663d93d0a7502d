"""The server and the sandbox of the guide's page on shipping: a real nginx with TLS, a real strace."""

from __future__ import annotations

import http.client
import re
import shutil
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.guide.pages_as_tests import ROOT
from tests.guide.running import run_page

PAGE = (ROOT / "onnxzip" / "guide" / "serving.md").read_text("utf-8")
MODEL = ROOT / "models" / "digits_gru.onnx"
DIGEST = "ab" * 32
_PATIENCE_S = 20.0


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, int]]:
    """Run the page's nginx, with its configuration, on a port of its own; yield its folder and port."""
    for program in ("nginx", "openssl"):
        if shutil.which(program) is None:
            pytest.skip(f"needs {program} (Debian: nginx-light, openssl)")
    folder = tmp_path_factory.mktemp("site")
    port = free_port()
    (configuration,) = re.findall(r"nginx\.conf <<'END'\n(.*?)^END$", PAGE, re.MULTILINE | re.DOTALL)
    assert configuration.count(":8443 ") == 1
    configuration = configuration.replace(":8443 ", f":{port} ")
    (folder / "nginx.conf").write_text(configuration)
    (certificate,) = re.findall(r"^openssl req (?:.*\\\n)*.*$", PAGE, re.MULTILINE)
    command = certificate.replace("site/", f"{folder}/")
    subprocess.run(["sh", "-ec", command], check=True, capture_output=True, timeout=60)
    (folder / "tmp").mkdir()
    place = folder / "files" / DIGEST
    place.mkdir(parents=True)
    shutil.copy(MODEL, place / "m.onnx")
    for name in ("m.onnx.sig", ".hidden.onnx", "m.txt", "key.pem"):
        (place / name).write_text("text")
    (place / "link.onnx").symlink_to(folder / "tls.key")
    (folder / "files" / "plain.onnx").write_text("text")
    start = ["nginx", "-p", str(folder), "-c", "nginx.conf", "-e", "error.log", "-g"]
    user = subprocess.run(["id", "-un"], check=True, capture_output=True, text=True).stdout.strip()
    server = subprocess.Popen(
        [*start, f"user {user}; daemon off;"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        _wait(port, server, folder)
        yield folder, port
    finally:
        server.terminate()
        server.wait(_PATIENCE_S)


def _wait(port: int, server: subprocess.Popen[bytes], folder: Path) -> None:
    """Wait until the server listens."""
    until = time.monotonic() + _PATIENCE_S
    while time.monotonic() < until:
        assert server.poll() is None, (folder / "error.log").read_text()
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise AssertionError("nginx does not listen")


def ask(
    site: tuple[Path, int], path: str, method: str = "GET", body: bytes | None = None
) -> tuple[int, bytes, dict[str, str]]:
    """Return the status, the content and the headers of an answer, over TLS that is checked."""
    folder, port = site
    context = ssl.create_default_context(cafile=str(folder / "tls.pem"))
    connection = http.client.HTTPSConnection("localhost", port, context=context, timeout=10)
    try:
        connection.request(method, path, body)
        answer = connection.getresponse()
        return answer.status, answer.read(), dict(answer.getheaders())
    finally:
        connection.close()


def test_a_model_comes_whole(site: tuple[Path, int]) -> None:
    status, content, headers = ask(site, f"/{DIGEST}/m.onnx")
    assert (status, content) == (200, MODEL.read_bytes())
    assert headers["Cache-Control"] == "public, max-age=31536000, immutable"
    assert headers["Content-Type"] == "application/octet-stream"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Server"] == "nginx"  # and not which
    assert ask(site, f"/{DIGEST}/m.onnx.sig")[:2] == (200, b"text")
    assert ask(site, f"/{DIGEST}/m.onnx", "HEAD")[:2] == (200, b"")


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/plain.onnx",
        f"/{DIGEST}",
        f"/{DIGEST}/",
        f"/{DIGEST}/m.txt",
        f"/{DIGEST}/key.pem",
        f"/{DIGEST}/.hidden.onnx",
        f"/{DIGEST}/absent.onnx",
        f"/{DIGEST.upper()}/m.onnx",
        f"/{DIGEST}/../../tls.key",
        f"/{DIGEST}/%2e%2e/%2e%2e/tls.key",
        f"/{DIGEST}/../plain.onnx",
        "/tls.key",
        "/nginx.conf",
    ],
)
def test_nothing_else_does(path: str, site: tuple[Path, int]) -> None:
    status, content, _ = ask(site, path)
    assert status in (400, 404)
    assert b"text" not in content.replace(b"text/html", b"")
    assert b"PRIVATE" not in content


def test_a_link_is_not_followed(site: tuple[Path, int]) -> None:
    assert ask(site, f"/{DIGEST}/link.onnx")[0] == 403


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "PROPFIND"])
def test_nothing_is_taken(method: str, site: tuple[Path, int]) -> None:
    assert ask(site, f"/{DIGEST}/m.onnx", method, b"x")[0] in (403, 405)
    assert ask(site, "/new.onnx", method, b"x")[0] in (404, 405)
    assert not (site[0] / "files" / "new.onnx").exists()
    assert (site[0] / "files" / DIGEST / "m.onnx").read_bytes() == MODEL.read_bytes()


def test_only_tls_1_3_of_the_certificate(site: tuple[Path, int]) -> None:
    folder, port = site
    plain = http.client.HTTPConnection("localhost", port, timeout=10)
    plain.request("GET", f"/{DIGEST}/m.onnx")
    assert plain.getresponse().status == 400
    plain.close()
    stranger = ssl.create_default_context()
    old = ssl.create_default_context(cafile=str(folder / "tls.pem"))
    old.maximum_version = ssl.TLSVersion.TLSv1_2
    for context in (stranger, old):
        connection = http.client.HTTPSConnection("localhost", port, context=context, timeout=10)
        with pytest.raises(ssl.SSLError):
            connection.request("GET", f"/{DIGEST}/m.onnx")
        connection.close()


def test_the_download_of_the_page(tmp_path: Path) -> None:
    """The page's own blocks: what was signed is served, fetched and checked."""
    needs = ("nginx", "openssl", "curl", "model_signing", "cyclonedx")
    lacking = [name for name in needs if not (shutil.which(name) or find_spec(name))]
    if lacking:
        pytest.skip(f"needs {', '.join(lacking)}")
    port = str(free_port())
    remark = "not run: tests/guide/test_serving.py runs it on a port of its own"
    page = PAGE.replace("8443", port).replace(f"<!-- {remark} -->", "<!-- needs: nginx -->")
    sections = {part.partition("\n")[0]: part for part in page.split("\n## ")}
    sign = sections["Sign"].partition("`-t --verify`")[0]
    (tmp_path / "page.md").write_text("\n".join((sign, sections["Serve"], sections["Download"])))
    (tmp_path / "work").mkdir()
    outcomes = list(run_page(tmp_path / "page.md", tmp_path / "work"))
    assert [outcome.fault for outcome in outcomes] == [""] * 3, outcomes[-1].output
    deadline = time.monotonic() + _PATIENCE_S
    while (tmp_path / "work" / "site" / "nginx.pid").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not (tmp_path / "work" / "site" / "nginx.pid").exists()  # it has ended


LOAD = """if True:
    import sys
    import numpy as np
    import onnxruntime
    session = onnxruntime.InferenceSession(sys.argv[1])
    feeds = {i.name: np.zeros([s if isinstance(s, int) else 1 for s in i.shape], np.float32)
             for i in session.get_inputs()}
    session.run(None, feeds)"""


def test_loading_needs_no_network_writes_nothing_and_starts_nothing(tmp_path: Path) -> None:
    if shutil.which("strace") is None:
        pytest.skip("needs strace")
    small, trace = tmp_path / "m.onnx", tmp_path / "trace"
    command = [sys.executable, "-m", "onnxzip", "-q", "-1", "--passes", "scalar"]
    model = ROOT / "models" / "digits_cnn.onnx"
    subprocess.run([*command, str(model), str(small)], cwd=ROOT, check=True, timeout=300)
    (tmp_path / "home").mkdir()
    environment = {
        "HOME": str(tmp_path / "home"),
        "TMPDIR": str(tmp_path / "home"),
        "PATH": "/usr/bin:/bin",
    }
    calls = "trace=network,file,process"
    done = subprocess.run(
        ["strace", "-f", "-e", calls, "-o", str(trace), sys.executable, "-B", "-c", LOAD, str(small)],
        env={**environment, "ORT_DISABLE_TELEMETRY": "1", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    if "PTRACE" in done.stderr or "ptrace" in done.stderr:
        pytest.skip(f"needs the right to trace processes: {done.stderr.splitlines()[0]}")
    assert done.returncode == 0, done.stderr
    lines = trace.read_text(errors="replace").splitlines()
    assert any(str(small) in line for line in lines)
    harmful = (
        r"\b(socket|connect|bind|unlink\w*|rename\w*|mkdir\w*|link\w*|symlink\w*)\(|O_(WR|RDWR|CREAT)"
    )
    assert [line for line in lines if re.search(harmful, line)] == []
    assert (
        len([line for line in lines if re.search(r"\b(execve|fork|vfork)\(", line)]) == 1
    )  # Python itself
    assert list((tmp_path / "home").iterdir()) == []
