"""Parse the options that all benchmarks share, and publish their reports."""

from __future__ import annotations

import argparse
from pathlib import Path


def parser(description: str | None) -> argparse.ArgumentParser:
    """Return a parser with the option --out."""
    found = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    found.add_argument("--out", type=Path, help="also write the report to this file")
    return found


def publish(report: str, out: Path | None) -> None:
    """Print a report, and write it to a file if one is given."""
    print(report)
    if out is not None:
        out.write_text(report + "\n", encoding="utf-8")
