"""The page's server: what it serves, what it does not, and what it takes."""

from __future__ import annotations

import json
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest

from tests.web.server import PAGE, serve


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "secret").write_bytes(b"secret")
    (tmp_path / "models" / "a.6").mkdir(parents=True)
    (tmp_path / "models" / "a.6" / "small.onnx").write_bytes(b"\0model")
    return tmp_path / "models"


def test_page_and_folders(folder: Path) -> None:
    with serve({"pairs": folder}) as site:
        with urlopen(f"{site.address}/page.html?model=x") as answer:
            assert answer.read() == (PAGE / "page.html").read_bytes()
            assert answer.headers["Cross-Origin-Embedder-Policy"] == "require-corp"
        with urlopen(f"{site.address}/page.mjs") as answer:
            assert answer.headers["Content-Type"] == "text/javascript"
        with urlopen(f"{site.address}/pairs/a.6/small.onnx") as answer:
            assert answer.read() == b"\0model"
            assert answer.headers["Content-Length"] == "6"


@pytest.mark.parametrize(
    "path", ["pairs/missing", "pairs/../secret", "pairs/%2e%2e/secret", "pairs", ""]
)
def test_nothing_else(path: str, folder: Path) -> None:
    with serve({"pairs": folder}) as site, pytest.raises(HTTPError) as caught:
        urlopen(f"{site.address}/{path}")
    assert caught.value.code == 404


def test_results(folder: Path) -> None:
    posted = {"load_ms": 1.5, "outputs": []}
    with serve({"pairs": folder}) as site:
        urlopen(Request(f"{site.address}/result", json.dumps(posted).encode(), method="POST")).close()
        assert site.results.get(timeout=10) == posted
