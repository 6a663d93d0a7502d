"""Serves the page, onnxruntime-web and models on the loopback address, and takes the page's results."""

from __future__ import annotations

import json
import queue
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import unquote, urlsplit

PAGE = Path(__file__).parent
_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".mjs": "text/javascript",
    ".wasm": "application/wasm",
    ".json": "application/json",
}
_ISOLATED = {
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Cache-Control": "no-store",
}
"""Browsers give shared memory, which onnxruntime-web's build has, to isolated pages alone."""


@dataclass(frozen=True)
class Site:
    """A running server.

    Attributes:
        address: `http://127.0.0.1:PORT`.
        results: what pages have posted, parsed.
    """

    address: str
    results: queue.SimpleQueue[dict[str, Any]]


@contextmanager
def serve(folders: Mapping[str, Path]) -> Iterator[Site]:
    """Serve the page at /, and each folder at /NAME/, until the block ends."""
    results: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
    roots = {name: folder.resolve() for name, folder in folders.items()}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            file = _find(roots, self.path)
            if file is None:
                self.send_error(HTTPStatus.NOT_FOUND)
                return
            self._answer(file.read_bytes(), _TYPES.get(file.suffix, "application/octet-stream"))

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            results.put(json.loads(body))
            self._answer(b"", "text/plain")

        def _answer(self, body: bytes, kind: str) -> None:
            self.send_response(HTTPStatus.OK)
            for name, value in _ISOLATED.items():
                self.send_header(name, value)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing: the table is what is printed."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield Site(f"http://127.0.0.1:{server.server_port}", results)
        finally:
            server.shutdown()


def _find(roots: Mapping[str, Path], address: str) -> Path | None:
    """Return the file that an address names, None where it names none or one outside the folders."""
    first, _, rest = unquote(urlsplit(address).path).lstrip("/").partition("/")
    root, name = (roots[first], rest) if first in roots else (PAGE, first)
    file = (root / name).resolve()
    return file if file.is_file() and file.is_relative_to(root) else None
