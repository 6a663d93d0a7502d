"""The page in a browser, as people see it: narrow and wide, light and dark, by eye, keyboard and ear."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from onnxzip.report.html import export, page
from onnxzip.report.plots.plot import Axis, Group, Point, XYPlot
from onnxzip.report.section import Section
from tests.report.full import FULL

VIEWS = [(width, scheme) for width in (390, 1280) for scheme in ("light", "dark")]

LOOK = """
const all = (query) => [...document.querySelectorAll(query)];
const shown = (e) => e.checkVisibility() && e.getClientRects().length;
const levels = all('h1,h2,h3,h4,h5,h6').map((e) => Number(e.tagName[1]));
const channels = (c) => c.match(/[\\d.]+/g).map(Number);
const light = (c) => {
  const [r, g, b] = channels(c).map((x) => x / 255).map(
    (x) => x <= 0.04045 ? x / 12.92 : ((x + 0.055) / 1.055) ** 2.4);
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
};
const behind = (e) => {
  for (; e; e = e.parentElement) {
    const c = getComputedStyle(e).backgroundColor;
    if (channels(c)[3] !== 0) return c;
  }
  return 'rgb(255, 255, 255)';
};
const faint = [];
const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
while (walker.nextNode()) {
  const e = walker.currentNode.parentElement, style = getComputedStyle(e);
  if (!walker.currentNode.data.trim() || !shown(e) || e.closest('style, caption')) continue;
  const ink = light(e.closest('svg') ? style.fill : style.color), paper = light(behind(e));
  const ratio = (Math.max(ink, paper) + 0.05) / (Math.min(ink, paper) + 0.05);
  if (ratio < 4.5) faint.push([walker.currentNode.data, ratio]);
}
return {
  levels, faint,
  inner: document.documentElement.clientWidth, full: document.documentElement.scrollWidth,
  paper: getComputedStyle(document.body).backgroundColor,
  mute: all('svg, img').filter((e) => !(e.getAttribute('aria-label') || e.getAttribute('alt'))).length,
  drawn: all('svg[role=img]').filter((e) => e.querySelector('.series circle, .series rect')).length,
  broken: all('img').filter((e) => !e.naturalWidth).length, pictures: all('img').length,
  bare: all('table').filter((t) => !t.caption || !all('th').every((h) => h.scope)).length,
  unreachable: all('*').filter((e) => ['auto', 'scroll'].includes(getComputedStyle(e).overflowX)
    && (e.tabIndex < 0 || e.getAttribute('role') !== 'region' || !e.getAttribute('aria-label'))).length,
  cut: all('svg text').filter((e) => {
    const inner = e.getBoundingClientRect(), outer = e.closest('svg').getBoundingClientRect();
    return shown(e) && (inner.left < outer.left - 1 || inner.right > outer.right + 1);
  }).map((e) => e.textContent),
};
"""


def installed(*names: str) -> list[str]:
    found = [shutil.which(name) for name in names]
    if not all(found):
        pytest.skip("needs a browser; Debian: apt-get install chromium chromium-driver")
    return [str(path) for path in found]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Yield Debian's Chromium, driven by selenium."""
    webdriver = pytest.importorskip("selenium.webdriver", reason="needs selenium, of the extra `test`")
    chromium, driver = installed("chromium", "chromedriver")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for flag in ("headless=new", "no-sandbox", "disable-gpu", "disable-dev-shm-usage"):
        options.add_argument(f"--{flag}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    service = webdriver.ChromeService(executable_path=driver)
    found = webdriver.Chrome(options=options, service=service)
    yield found
    found.quit()


def look(browser: Any, path: Path, width: int, scheme: str) -> dict[str, Any]:
    """Return what there is to see of a page."""
    size = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 600}
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    browser.get(path.as_uri())
    browser.execute_script("document.querySelectorAll('details').forEach((e) => { e.open = true; })")
    found: dict[str, Any] = browser.execute_script(LOOK)
    return found


def requests(browser: Any) -> list[str]:
    """Return the addresses that were asked for since the last call."""
    messages = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    sent = [m["params"] for m in messages if m["method"] == "Network.requestWillBeSent"]
    return [params["request"]["url"] for params in sent]


@pytest.mark.parametrize(("width", "scheme"), VIEWS)
def test_a_report_in_a_browser(browser: Any, tmp_path: Path, width: int, scheme: str) -> None:
    path = tmp_path / "report.html"
    path.write_text(export(FULL), "utf-8")
    requests(browser)
    found = look(browser, path, width, scheme)
    assert browser.get_log("browser") == []  # errors and warnings of the console
    assert {url.partition(":")[0] for url in requests(browser)} <= {"file", "data"}
    assert found["full"] <= found["inner"] <= width
    levels = found["levels"]
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in zip([0, *levels], levels, strict=False))
    assert found["mute"] == found["broken"] == found["bare"] == found["unreachable"] == 0
    assert found["drawn"] >= 5
    assert found["pictures"] == 6
    assert found["faint"] == []
    assert found["cut"] == []
    assert (found["paper"] == "rgb(13, 17, 23)") == (scheme == "dark")


def test_what_is_checked_is_seen(browser: Any, tmp_path: Path) -> None:
    """A page with all these faults has them found."""
    path = tmp_path / "bad.html"
    points = Group("p", "chosen", (Point(1, 1, "a text that is far longer than the plot is wide" * 3),))
    plot = XYPlot("t", "s", Axis("x"), Axis("y"), (Group(**{**vars(points), "is_labelled": True}),))
    text = page("t", [Section("s", plots=(plot,))])
    bad = '<h5>x</h5><p style="color:#ccc;white-space:nowrap;width:5000px">faint</p><img src="http://x.invalid/">'
    bad += '<table><tr><th>a</th></tr></table><div style="overflow-x:auto">b</div>'
    path.write_text(text.replace("</main>", f"{bad}</main>"), "utf-8")
    requests(browser)
    found = look(browser, path, 390, "light")
    assert found["full"] > 390
    assert found["levels"][-1] == 5
    assert found["mute"] == found["broken"] == found["bare"] == found["unreachable"] == 1
    assert [text for text, _ in found["faint"]] == ["faint"]
    assert len(found["cut"]) == 1
    assert "http://x.invalid/" in requests(browser)
    assert browser.get_log("browser") != []
