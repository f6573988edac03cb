"""A page of the report in Debian's Chromium, driven by Playwright."""

from __future__ import annotations

import shutil
import time
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import sync_playwright

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
DRAWN = "document.documentElement.dataset.drawn ?? null"


class Tab:
    """One page and everything that it logged, asked the network for, or opened a dialog with."""

    def __init__(self, page):
        self.page, self.errors, self.requests, self.dialogs = page, [], [], []
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("console", lambda message: message.type == "error" and self.errors.append(message.text))
        page.on("request", lambda request: self.requests.append(request.url))
        page.on("dialog", self._dismiss)

    def _dismiss(self, dialog):
        self.dialogs.append(dialog.message)
        dialog.dismiss()

    def run(self, script):
        """The value of a JavaScript expression."""
        return self.page.evaluate(script)

    def open(self, path, fragment=""):
        """Opens a file and waits until its charts are drawn."""
        self.page.goto(Path(path).as_uri() + fragment)
        self.until(DRAWN)

    def until(self, script, *, seconds=30):
        """Waits until an expression is true. Playwright's own way needs eval, which the page forbids."""
        ends = time.monotonic() + seconds
        while not self.run(script):
            assert time.monotonic() < ends, f"still not true: {script}"
            self.wait(0.02)

    def wait(self, seconds=0.2):
        self.page.wait_for_timeout(1000 * seconds)

    def point_at(self, x, y):
        """Moves the mouse there and waits for what that shows."""
        for shift in (3, 0):
            self.page.mouse.move(x - shift, y - shift)
            self.wait(0.1)

    def press(self, *keys):
        for key in keys:
            self.page.keyboard.press(key)

    def saved(self, button):
        """The name and the bytes of the file that a button saves."""
        with self.page.expect_download() as waiting:
            button.click()
        return waiting.value.suggested_filename, Path(waiting.value.path()).read_bytes()


@contextmanager
def chromium():
    """A browser; it is gone afterwards."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def tab_in(browser, *, width=1280, height=800, scheme="light"):
    """An empty tab of its own profile."""
    size = {"width": width, "height": height}
    context = browser.new_context(viewport=size, color_scheme=scheme, has_touch=width < 600)
    context.set_default_timeout(30_000)
    try:
        yield Tab(context.new_page())
    finally:
        context.close()
