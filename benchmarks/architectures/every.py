"""List the architectures. The list was fixed before the first measurement and never shortened."""

from __future__ import annotations

from benchmarks.architectures.catalogue import Architecture
from benchmarks.architectures.graphs import graphs
from benchmarks.architectures.images import images
from benchmarks.architectures.perception import perception
from benchmarks.architectures.text import text


def every() -> list[Architecture]:
    """Return all architectures in the order of the page."""
    return [*text(), *perception(), *images(), *graphs()]
