#!/usr/bin/env python3
"""Drives a report in a real browser, over the DevTools protocol: at the widths of a phone and of a desk, light and dark.

    python3 .ci/check_report.py REPORT.html [--screenshots FOLDER] [--serve RESCONV]

With the program `resconv`, it also drives the page that `resconv report --serve` shows of the report's folder, and of a copy in which a
run seems to go on, so that the page loads itself again.

Needs chromium, and the package websocket-client.
"""
import argparse
import base64
import contextlib
import json
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request

import websocket

WIDTHS = {"phone": 390, "desk": 1400}


class Page:
    """A tab, and what it complained about."""

    # Requests to this address are not complained about.
    served = "data:"

    def __init__(self, address):
        self.socket = websocket.create_connection(address, timeout=60, suppress_origin=True)
        self.number = 0
        self.complaints = []

    def call(self, method, **params):
        self.number += 1
        self.socket.send(json.dumps({"id": self.number, "method": method, "params": params}))
        while True:
            message = json.loads(self.socket.recv())
            self.note(message)
            if message.get("id") == self.number:
                assert "error" not in message, f"{method}: {message}"
                return message["result"]

    def note(self, message):
        method, params = message.get("method"), message.get("params", {})
        if method == "Runtime.exceptionThrown":
            self.complaints.append(params["exceptionDetails"])
        elif method == "Runtime.consoleAPICalled" and params["type"] in ("error", "warning", "assert"):
            self.complaints.append(params["args"])
        elif method == "Log.entryAdded" and params["entry"]["level"] in ("error", "warning"):
            self.complaints.append(params["entry"])
        elif method == "Network.requestWillBeSent" and not params["request"]["url"].startswith(("file:", "data:", self.served)):
            self.complaints.append("a request to " + params["request"]["url"])

    def value(self, expression):
        result = self.call("Runtime.evaluate", expression=f"(() => {{ {expression} }})()", returnByValue=True)
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    def open(self, url, width, dark):
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=width < 600)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])
        # Nothing that an earlier page kept counts.
        self.call("Page.navigate", url=url)
        self.wait_for_page()
        origin = self.value("sessionStorage.clear(); Storage.prototype.setItem = () => {}; return performance.timeOrigin")
        self.call("Page.navigate", url="about:blank")
        self.call("Page.navigate", url=url)
        self.wait_for_page(unlike=origin)  # the page that keeps nothing may still be there

    def wait_for_page(self, unlike=None):
        """Waits until a page is there, and it did not begin at the time `unlike`."""
        ready = "return document.readyState === 'complete' && !!document.querySelector('#tip') && performance.timeOrigin"
        for _ in range(400):
            with contextlib.suppress(AssertionError):  # between two pages
                if self.value(ready) not in (False, None, unlike):
                    return
            time.sleep(0.05)
        sys.exit("the report did not load")

    def place(self, selector):
        """The middle of an element, scrolled into view."""
        place = self.value(
            f"const e = [...document.querySelectorAll({selector!r})].find((e) => e.getClientRects().length);"
            "if (!e) return null; e.scrollIntoView({ block: 'center' }); const r = e.getBoundingClientRect();"
            "return [r.left + r.width / 2, r.top + r.height / 2];"
        )
        assert place, f"nothing is shown of {selector}"
        return place

    def mouse(self, kind, x, y, **more):
        self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, pointerType="mouse", **more)

    def click(self, selector):
        x, y = self.place(selector)
        for kind in ("mousePressed", "mouseReleased"):
            self.mouse(kind, x, y, button="left", clickCount=1)

    def hover(self, selector):
        self.mouse("mouseMoved", *self.place(selector))

    def screenshot(self, path):
        size = self.call("Page.getLayoutMetrics")["cssContentSize"]
        clip = {"x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1}
        shot = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=True, clip=clip)
        path.write_bytes(base64.b64decode(shot["data"]))


def check(page, width):
    column = "return [...document.querySelectorAll('#results tbody tr')].map((r) => r.cells[{}].dataset.value)"
    name = "return [...document.querySelectorAll('#results th')].findIndex((h) => h.textContent === {!r})"
    # A phone would show a page that is too wide in small.
    assert page.value("return Math.max(innerWidth, document.documentElement.scrollWidth)") == width, "the page is too wide"

    # The table is sorted by loss; a click on a heading sorts by it, another one the other way round.
    loss = page.value(name.format("validation loss"))
    losses = [float(value) for value in page.value(column.format(loss)) if value]
    assert losses and losses == sorted(losses), losses
    rows = len(page.value(column.format(loss)))
    params = page.value(name.format("model params"))
    heading = f"#results th:nth-child({params + 1}) button"
    for reverse in (False, True):
        page.click(heading)
        values = [int(value) for value in page.value(column.format(params))]
        assert values == sorted(values, reverse=reverse) and len(values) == rows, values
        state = page.value(f"return document.querySelector({heading!r}).closest('th').getAttribute('aria-sort')")
        assert state == ("descending" if reverse else "ascending"), state

    # A curve is switched off by its key, and on again.
    lines = "return [...document.querySelectorAll('#curves svg')].filter((s) => s.getClientRects().length)" \
        ".flatMap((s) => [...s.querySelectorAll('.series[data-series] > path')]).filter((g) => g.getClientRects().length).length"
    before = page.value(lines)
    assert before >= 1, "no curve is shown"
    page.click("#curves .key[data-series='0']")
    assert page.value(lines) == before - 1, "the curve is still there"
    assert page.value("return document.querySelector('#curves .key').getAttribute('aria-pressed')") == "false"
    page.click("#curves .key[data-series='0']")
    assert page.value(lines) == before

    # Hovering shows every curve's value.
    page.hover("#curves svg")
    tip = page.value("const t = document.getElementById('tip'); return t.hidden ? '' : t.innerText")
    assert "training images seen" in tip and len(tip.splitlines()) > 1, tip
    assert tip.count("0.") >= page.value("return document.querySelectorAll('#curves .key[data-series]').length"), tip
    page.mouse("mouseMoved", 1, 1)
    assert page.value("return document.getElementById('tip').hidden"), "the tooltip stays"

    # All pictures load; another network can be chosen.
    page.value("document.querySelectorAll('details').forEach((d) => { d.open = true; })")
    pictures = page.value("return [...document.images].map((i) => [i.complete, i.naturalWidth])")
    assert pictures and all(complete and width > 0 for complete, width in pictures), pictures
    if page.value("return document.querySelectorAll('#pictures select').length"):
        source = "return document.querySelector('#pictures .pair figure:first-child img').src"
        before = page.value(source)
        page.value("const s = document.querySelector('#pictures select'); s.value = '0'; s.dispatchEvent(new Event('change'))")
        best = page.value("return document.querySelector('#pictures-0 img').src")
        assert page.value(source) == best != before, "the chosen picture is not shown"


def check_reload(page, by_itself):
    """What the reader chose is still chosen when the page was loaded again."""
    name = "return [...document.querySelectorAll('#results th')].findIndex((h) => h.textContent === 'model params')"
    params = page.value(name)
    for _ in range(2):
        page.click(f"#results th:nth-child({params + 1}) button")
    page.click("#curves .key[data-series='0']")
    if page.value("return document.querySelectorAll('#pictures select').length"):
        page.value("const s = document.querySelector('#pictures select'); s.value = '0'; s.dispatchEvent(new Event('change'))")
    page.value("scrollTo(0, 150)")
    state = "return JSON.stringify([[...document.querySelectorAll('#results th')].map((h) => h.getAttribute('aria-sort'))," \
        "[...document.querySelectorAll('#results tbody tr')].map((r) => r.textContent)," \
        "[...document.querySelectorAll('.key')].map((k) => k.getAttribute('aria-pressed'))," \
        "[...document.querySelectorAll('.series')].map((s) => s.classList.contains('off'))," \
        "[...document.querySelectorAll('#pictures select')].map((s) => s.value), scrollY])"
    before, origin = page.value(state), page.value("return performance.timeOrigin")
    time.sleep(1)  # a browser on a busy machine takes its time to pass on what a page keeps
    if not by_itself:
        page.call("Page.reload")
    page.wait_for_page(unlike=origin)
    after = page.value(state)
    assert json.loads(before)[0][params] == "descending" and "false" in json.loads(before)[2], before
    assert before == after, f"the reload lost what was chosen:\n{before}\n{after}"


@contextlib.contextmanager
def served(resconv, folder):
    """The address of the page that the program shows of a folder."""
    server = subprocess.Popen([resconv, "report", str(folder), "--serve"], stdout=subprocess.PIPE, text=True)
    try:
        yield server.stdout.readline().strip()
    finally:
        server.send_signal(signal.SIGINT)
        assert server.wait() == 130, "the server did not end as Ctrl-C ends other commands"


def looks(page, url, screenshots, name, more):
    """Checks a page at every width, light and dark."""
    for kind, width in WIDTHS.items():
        for dark in (False, True):
            page.open(url, width, dark)
            scheme = "dark" if dark else "light"
            if screenshots:
                screenshots.mkdir(parents=True, exist_ok=True)
                page.screenshot(screenshots / f"{name}-{kind}-{scheme}.png")
            check(page, width)
            more(page)
            assert not page.complaints, page.complaints
            print(f"{url}: {width} px, {scheme}: ok")


def check_served(page, resconv, report, screenshots):
    """Checks the page of a server, of a folder as it is and of one whose run goes on."""
    with served(resconv, report.parent) as url:
        page.served = url
        looks(page, url, screenshots, "served", lambda page: check_reload(page, False))
        run = page.value("const a = document.querySelector('#results tbody a'); return a && a.href")
        if run:
            page.open(run, WIDTHS["desk"], False)
            check(page, WIDTHS["desk"])
            page.click("header a")
            page.wait_for_page()
            assert page.value("return location.href") == url
    with tempfile.TemporaryDirectory() as copy:
        folder = pathlib.Path(copy, "going-on")
        shutil.copytree(report.parent, folder)
        summary = next(folder.rglob("summary.json"))
        summary.unlink()
        state = folder / "sweep.json"
        if state.exists():
            name = summary.parent.name
            entries = json.loads(state.read_text())
            next(entry for entry in entries["runs"] if entry["name"] == name)["status"] = "running"
            state.write_text(json.dumps(entries))
        # As if a process of another machine had just taken it.
        holder = {"host": "another machine", "pid": 1, "birth": None, "token": "0"}
        (summary.parent / ".lock").write_text(json.dumps(holder))
        with served(resconv, folder) as url:
            page.served = url
            page.open(url, WIDTHS["phone"], False)
            assert "running" in page.value("return document.querySelector('header').innerText")
            check_reload(page, True)
            assert not page.complaints, page.complaints
            print(f"{url}: loads itself again while a run goes on: ok")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("report", type=pathlib.Path)
    parser.add_argument("--screenshots", type=pathlib.Path)
    parser.add_argument("--serve", metavar="RESCONV", help="the program resconv, whose served page is driven, too")
    args = parser.parse_args()
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or sys.exit("no chromium")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        options = ["--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-dev-shm-usage"]
        options += ["--remote-debugging-port=0", f"--user-data-dir={profile}", "--hide-scrollbars", "about:blank"]
        browser = subprocess.Popen([chromium, *options], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            port_file = pathlib.Path(profile, "DevToolsActivePort")
            for _ in range(600):
                if port_file.exists() and port_file.read_text().count("\n") >= 1:
                    break
                time.sleep(0.1)
            port = port_file.read_text().split()[0]
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/json/list") as answer:
                tab = next(tab for tab in json.load(answer) if tab["type"] == "page")
            page = Page(tab["webSocketDebuggerUrl"])
            for domain in ("Page", "Runtime", "Log", "Network"):
                page.call(f"{domain}.enable")
            report = args.report.resolve()
            looks(page, report.as_uri(), args.screenshots, "report", lambda page: check_reload(page, False))
            if args.serve:
                check_served(page, args.serve, report, args.screenshots)
        finally:
            browser.terminate()
            browser.wait()


main()
