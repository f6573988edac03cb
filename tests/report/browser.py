"""A headless browser that opens one page, for the tests that need a real one."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.request import urlopen

from tornado.websocket import websocket_connect

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
QUIET = [
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    *("--remote-debugging-port=0", "--remote-allow-origins=*"),
]
DRAWN = """new Promise(done => { const look = () =>
    document.documentElement.dataset.drawn ? done(true) : setTimeout(look, 20); look(); })"""


class Tab:
    """One page and everything it logged or asked the network for."""

    def __init__(self, socket):
        self.socket, self.count = socket, 0
        self.errors, self.requests = [], []

    async def call(self, method, **params):
        self.count += 1
        await self.socket.write_message(json.dumps({"id": self.count, "method": method, "params": params}))
        while True:
            answer = json.loads(await asyncio.wait_for(self.socket.read_message(), 60))
            if answer.get("id") == self.count:
                return answer["result"]
            self.note(answer)

    def note(self, event):
        params = event.get("params", {})
        if event.get("method") == "Network.requestWillBeSent":
            self.requests.append(params["request"]["url"])
        if event.get("method") == "Runtime.exceptionThrown" or params.get("type") == "error":
            self.errors.append(params)
        if event.get("method") == "Log.entryAdded" and params["entry"]["level"] == "error":
            self.errors.append(params)

    async def run(self, script):
        """The value of a JavaScript expression."""
        answer = await self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    async def open(self, path, *, width, scheme):
        """Opens a file at a width and colour scheme and waits until its charts are drawn."""
        for domain in ("Page", "Runtime", "Network", "Log"):
            await self.call(f"{domain}.enable")
        size = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 600}
        await self.call("Emulation.setDeviceMetricsOverride", **size)
        feature = {"name": "prefers-color-scheme", "value": scheme}
        await self.call("Emulation.setEmulatedMedia", features=[feature])
        await self.call("Page.navigate", url=Path(path).as_uri())
        await self.run(
            "new Promise(r => document.readyState == 'complete' ? r() : addEventListener('load', r))"
        )
        await self.run(DRAWN)

    async def point_at(self, x, y):
        """Moves the mouse there and waits for what that shows."""
        for shift in (3, 0):
            await self.call("Input.dispatchMouseEvent", type="mouseMoved", x=x - shift, y=y - shift)
            await asyncio.sleep(0.15)


@asynccontextmanager
async def opened(path, profile, *, width=1280, scheme="light"):
    """A tab with the page at `path`; the browser is gone afterwards."""
    process = subprocess.Popen(
        [CHROMIUM, *QUIET, f"--user-data-dir={profile}", "about:blank"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    socket = None
    try:
        socket = await websocket_connect(await _address(Path(profile)), max_message_size=2**26)
        tab = Tab(socket)
        await tab.open(path, width=width, scheme=scheme)
        yield tab
    finally:
        if socket is not None:
            socket.close()
            while await socket.read_message() is not None:
                pass
        process.terminate()
        process.wait(20)


async def _address(profile):
    port_file = profile / "DevToolsActivePort"
    for _ in range(600):
        if port_file.exists() and "\n" in port_file.read_text():
            break
        await asyncio.sleep(0.05)
    port = port_file.read_text().split()[0]
    with urlopen(f"http://127.0.0.1:{port}/json") as answer:
        return next(t["webSocketDebuggerUrl"] for t in json.load(answer) if t["type"] == "page")
