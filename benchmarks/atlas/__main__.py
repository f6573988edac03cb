"""Measure entries of the atlas, store their numbers, and write the page."""

from __future__ import annotations

import argparse
import sys

from benchmarks import atlas
from benchmarks.atlas import page, store, tried


def main() -> None:
    """Measure the named entries, or only write the page."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.atlas",
        description=atlas.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(store.entries()))
    parser.add_argument("--all", action="store_true", help="measure every entry")
    parser.add_argument("--page", action="store_true", help="write the page from the stored numbers")
    parser.add_argument("--tried", action="store_true", help="look again for weights of other models")
    arguments = parser.parse_args()
    names = store.entries() if arguments.all else arguments.names
    if not (names or arguments.page or arguments.tried):
        parser.error("name an entry, or pass --all, --page or --tried")
    try:
        for name in names:
            measure(name)
        if arguments.tried:
            tried.look()
    except (ValueError, RuntimeError, FileNotFoundError) as problem:
        sys.exit(f"error: {problem}")
    page.write(store.read_all())


def measure(name: str) -> None:
    """Measure an entry in this environment, and store its numbers."""
    from benchmarks.atlas import measured

    entry = measured.entry_of(name)
    measured.install(entry)
    store.write(name, measured.record(entry))


if __name__ == "__main__":
    main()
