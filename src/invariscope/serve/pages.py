"""Render the pages of the local web server: the index, reports, and messages."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

from invariscope.common.wording import visible
from invariscope.plots.shared.theme import DARK, LIGHT
from invariscope.report import assets
from invariscope.serve.runs import Library, Run, digest

# A report on more networks would be too wide to read.
MOST_COMPARED = 12
# Memory for rendered reports, in bytes.
_KEPT_BYTES = 200_000_000


@dataclass(frozen=True)
class Page:
    """A response: HTML, content security policy, and HTTP status."""

    html: bytes
    policy: str
    status: int = 200


def index(library: Library) -> Page:
    """Return the page that lists all runs."""
    runs = library.runs()
    return _page(
        title="Runs",
        runs=[run for run in runs if run.facts],
        broken=[run for run in runs if not run.facts],
        folders=[visible(str(folder)) for folder in library.folders],
        most=MOST_COMPARED,
        message="",
    )


def message(text: str, *, status: int) -> Page:
    """Return a page that shows one sentence and links to the index."""
    return _page(
        title="Invariscope", runs=[], broken=[], folders=[], most=0, message=visible(text), status=status
    )


class Reports:
    """Cache of rendered reports; each is kept until its files change or other reports need the memory."""

    def __init__(self) -> None:
        self._pages: OrderedDict[tuple[str, ...], Page] = OrderedDict()
        self._lock = threading.Lock()  # one at a time: matplotlib draws in one thread only

    def page(self, runs: Sequence[Run]) -> Page:
        """Return the report of one run, or of several runs side by side.

        Raises:
            ValueError: no runs or too many, or a result that can no longer be read.
            OSError: a file is missing.
        """
        if not 1 <= len(runs) <= MOST_COMPARED:
            raise ValueError(f"select between 1 and {MOST_COMPARED} runs; got {len(runs)}")
        with self._lock:
            key = tuple(map(digest, runs))
            page = self._pages.pop(key, None) or _report(runs)
            self._pages[key] = page
            while len(self._pages) > 1 and sum(len(one.html) for one in self._pages.values()) > _KEPT_BYTES:
                self._pages.popitem(last=False)
            return page


def _report(runs: Sequence[Run]) -> Page:
    from invariscope.report.page import render
    from invariscope.results.storage import load

    results = [load(run.folder) for run in runs]
    for run, result in zip(runs, results, strict=True):
        if not result.rows:
            raise ValueError(f"the result in {run.name} has no rows to report")
    # The page contains its own policy, in its head.
    return Page(render(results, home="/").encode("utf-8"), "frame-ancestors 'none'")


def _page(*, status: int = 200, **contents: Any) -> Page:
    script = _file("index.js")
    html = _template().render(
        script=script,
        style=_file("index.css"),
        light=assets.variables(LIGHT),
        dark=assets.variables(DARK),
        **contents,
    )
    return Page(html.encode("utf-8"), _policy(script), status)


def _policy(script: str) -> str:
    """Return a policy that allows only this script, no requests, and submitting the form of the index."""
    return (
        f"default-src 'none'; script-src {assets.sources([script])}; style-src 'unsafe-inline'; "
        "img-src data:; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    )


@cache
def _template() -> Any:
    return assets.environment().from_string(_file("index.html"))


@cache
def _file(name: str) -> str:
    return (resources.files("invariscope.serve") / name).read_text(encoding="utf-8")
