"""Serve reports to this computer only. Only GET and HEAD are supported; requests never contain file paths."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from socketserver import TCPServer
from typing import Any
from urllib.parse import parse_qs

from invariscope.serve import pages
from invariscope.serve.pages import Page, Reports
from invariscope.serve.runs import BAD_FILES, Library

HOST = "127.0.0.1"
USUAL_PORT = 8642
_LARGEST_PORT = 65_535
_KEY = re.compile(r"[0-9a-f]{16}")
_FIELDS = 100  # parts of a query
_LOG = logging.getLogger(__name__)
_HEADERS = {
    "Content-Type": "text/html; charset=utf-8",
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


class Server(ThreadingHTTPServer):
    """Web server for the runs in some folders, accessible from this computer only.

    Args:
        folders: folders to search for runs.
        port: port number, or 0 for any free port.
    Raises:
        FileNotFoundError: a folder does not exist.
        ValueError: the port number is out of range.
        OSError: the port cannot be used.
    """

    daemon_threads = True  # a slow report must not delay shutdown

    def __init__(self, folders: Sequence[Path], port: int = USUAL_PORT) -> None:
        if not 0 <= port <= _LARGEST_PORT:
            raise ValueError(f"--port must be from 0 (any free port) to {_LARGEST_PORT}; got {port}")
        self.library, self.reports = Library(folders), Reports()
        try:
            super().__init__((HOST, port), _Handler)
        except OSError as error:
            raise OSError(
                f"port {port} of {HOST} cannot be used ({error.strerror or error}); choose another one with "
                "--port, or 0 for any free port"
            ) from error

    def server_bind(self) -> None:
        """Bind the socket without looking up the host name, which may take seconds."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = HOST, self.server_address[1]

    @property
    def url(self) -> str:
        """URL of the index."""
        return f"http://{HOST}:{self.server_port}/"

    @property
    def hosts(self) -> frozenset[str]:
        """Accepted values of the Host header; any other indicates a request from another site's page."""
        return frozenset(f"{name}:{self.server_port}" for name in (HOST, "localhost"))

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Log a failed connection, such as one that the browser closed."""
        _LOG.debug("connection from %s failed", client_address, exc_info=True)


class _Handler(BaseHTTPRequestHandler):
    server: Server  # type: ignore[assignment]
    timeout = 30  # seconds to wait for a request

    def do_GET(self) -> None:
        """Answer a GET request."""
        self._answer(self._page())

    def do_HEAD(self) -> None:
        """Answer a HEAD request."""
        self._answer(self._page())

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Answer invalid requests and unsupported methods."""
        code = 405 if code == 501 else code
        self._answer(pages.message("only GET requests are supported", status=code))

    def log_message(self, format: str, *args: Any) -> None:
        """Log a request."""
        _LOG.debug(format, *args)

    def version_string(self) -> str:
        """Return the name of the server without version numbers."""
        return "Invariscope"

    def _page(self) -> Page:
        if self.headers.get("Host", "").lower() not in self.server.hosts:
            return pages.message(f"open {self.server.url} instead", status=403)
        if self._embedded:
            return pages.message("reports cannot be embedded in other pages", status=403)
        path, _, query = self.path.partition("?")
        if path == "/favicon.ico":
            return Page(b"", "default-src 'none'", status=204)
        if path not in ("/", "/report"):
            return pages.message("page not found", status=404)
        try:
            return pages.index(self.server.library) if path == "/" else self._report(query)
        except BAD_FILES as error:
            return pages.message(str(error), status=422)
        except Exception:  # a bug must not end the server
            _LOG.exception("failed: %r", self.path)
            return pages.message("this page could not be created because of an internal error", status=500)

    def _report(self, query: str) -> Page:
        keys = parse_qs(query, max_num_fields=_FIELDS).get("run", [])
        try:
            runs = self.server.library.find([key for key in keys if _KEY.fullmatch(key)])
        except KeyError:
            return pages.message("this run no longer exists; reload the list", status=404)
        return self.server.reports.page(runs)

    @property
    def _embedded(self) -> bool:
        """Whether another site's page requests this page to embed it rather than to open it."""
        site, mode = (self.headers.get(f"Sec-Fetch-{name}", "") for name in ("Site", "Mode"))
        return site in ("cross-site", "same-site") and mode != "navigate"

    def _answer(self, page: Page) -> None:
        self.send_response(page.status)
        for name, value in _HEADERS.items():
            self.send_header(name, value)
        self.send_header("Content-Security-Policy", page.policy)
        self.send_header("Content-Length", str(len(page.html)))
        if page.status == 405:
            self.send_header("Allow", "GET, HEAD")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(page.html)
