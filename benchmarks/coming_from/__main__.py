"""Measure with other packages and with Invariscope, print both numbers, and store them on request."""

from __future__ import annotations

import importlib

from benchmarks import coming_from, command_line
from benchmarks.coming_from import comparison

NAMES = ("tmeasures", "lie_deriv", "escnn", "e3nn", "torchlens", "torchmetrics")


def shown(found: dict) -> str:
    """Return the numbers as plain text."""
    lines = [" ".join(f"{name} {number}" for name, number in found["versions"].items())]
    for rows in found["tables"].values():
        lines += ["", *(f"{row['theirs']!s:>24} {row['ours']!s:>24}  {row['text']}" for row in rows)]
    return "\n".join(lines)


def main() -> None:
    """Run the requested comparisons."""
    parser = command_line.parser(coming_from.__doc__)
    parser.add_argument("names", nargs="*", choices=[[], *NAMES], default=[], metavar="NAME")
    parser.add_argument("--write", action="store_true", help="store the numbers for the documentation")
    arguments = parser.parse_args()
    reports = []
    for name in arguments.names or NAMES:
        found = comparison.record(importlib.import_module(f"benchmarks.coming_from.{name}"))
        reports.append(f"{found['title']}\n{shown(found)}")
        if arguments.write:
            comparison.write(name, found)
    command_line.publish("\n\n".join(reports), arguments.out)


if __name__ == "__main__":
    main()
