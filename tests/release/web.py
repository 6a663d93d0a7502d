"""Runs compressed files with onnxruntime-web in Debian's headless Chromium, beside their plain files.

    python -m tests.release.web WORK [--models FOLDER...] [--levels N...]

Compresses the models into WORK as `others` does. Each file is answered on by a page of its own
(tests/web), in a browser of its own with an empty profile, on wasm with one thread, and on WebGPU
where the browser offers it (in software: no figure of a GPU). Prints a line for each file, plain ->
compressed. Times are counted from the beginning of the download. Exits with 1 where answers differ.
"""

from __future__ import annotations

import os
import queue
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.release.trials.answers import CLOSE, LIMIT_SECONDS, Answers, Pair, ask_pairs, read
from tests.release.trials.compressed import make_pairs, parser
from tests.release.trials.environments import UnavailableError, find_browser, make_node
from tests.web.server import Site, serve

PROVIDERS = ("wasm", "webgpu")
_QUIET = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)
_SOFTWARE = ("--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader")
_COLUMNS = (
    *("file", "provider", "answers", "bytes downloaded", "ms to session", "ms to first answer"),
    *("ms to tenth answer", "JS heap, MB", "wasm memory, MB"),
)


@dataclass(frozen=True)
class Browser:
    """Chromium, and the site it looks at."""

    command: Path
    site: Site

    def answers(self, pair: str, file: str, provider: str) -> Answers:
        """Open the page on a file.

        Raises:
            UnavailableError: the browser does not offer the provider.
        """
        folder = f"{self.site.address}/pairs/{pair}"
        page = f"{self.site.address}/page.html"
        address = f"{page}?model={folder}/{file}&feeds={folder}/feeds.json&provider={provider}"
        result = self._result_of(address)
        if "skipped" in result:
            raise UnavailableError(result["skipped"])
        return read(result, 0.0)

    def _result_of(self, address: str) -> dict[str, Any]:
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
            flags = (*_QUIET, *_SOFTWARE, "--enable-precise-memory-info", f"--user-data-dir={profile}")
            process = subprocess.Popen(
                [self.command, *flags, address],
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
            try:
                return self.site.results.get(timeout=LIMIT_SECONDS)
            except queue.Empty:
                return {"finding": f"no answer in {LIMIT_SECONDS} s"}
            finally:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


def row(pair: Pair, provider: str) -> str:
    """Return the line of a file."""
    answers = (pair.plain, pair.small)
    verdict = pair.small.finding or pair.plain.finding or pair.verdict
    cells = [
        pair.name,
        provider,
        verdict if pair.difference == 0 else f"{verdict} {pair.difference:.1g}",
    ]
    cells += [f"{pair.n_bytes[0]:,} -> {pair.n_bytes[1]:,}"]
    cells += [" -> ".join(columns) for columns in zip(*map(_figures, answers), strict=True)]
    return f"| {' | '.join(cells)} |"


def _figures(answers: Answers) -> Iterator[str]:
    """Yield times from the beginning of the download, in ms, and memory in MB."""
    if answers.facts is None:
        yield from "-----"
        return
    facts = answers.facts
    session = facts["fetch_ms"] + facts["load_ms"]
    first = session + facts["first_ms"]
    for number in (session, first, first + 9 * facts["run_ms"], facts["heap_mb"], facts["wasm_mb"]):
        yield f"{number:.0f}"


def main(arguments: list[str]) -> int:
    """Print the table; return 1 where a file is not right."""
    asked = parser("web").parse_args(arguments)
    work = asked.work.resolve()
    try:
        command = find_browser()
        modules = make_node(work / "environments" / "onnxruntime-web", ("onnxruntime-web",))
    except UnavailableError as error:
        print(f"skipped: {error}")
        return 0
    folders = make_pairs(work, asked.models, asked.levels)
    n_failed = 0
    print(f"| {' | '.join(_COLUMNS)} |\n{'|---' * len(_COLUMNS)}|")
    with serve({"pairs": work / "pairs", "ort": modules / "onnxruntime-web" / "dist"}) as site:
        browser = Browser(command, site)
        for provider in PROVIDERS:
            try:
                n_failed += _print_rows(browser, folders, provider)
            except UnavailableError as error:
                print(f"| all | {provider} | skipped: {error} |")
    return 1 if n_failed else 0


def _print_rows(browser: Browser, folders: list[Path], provider: str) -> int:
    """Print a provider's lines; return how many files are not right."""
    n_failed = 0

    def answers_of(file: Path) -> Answers:
        return browser.answers(file.parent.name, file.name, provider)

    for pair in ask_pairs(folders, answers_of, CLOSE):
        print(row(pair, provider), flush=True)
        n_failed += pair.verdict in ("wrong", "refused")
    return n_failed


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
