"""`invariscope verify`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from invariscope.cli.console import show_line
from invariscope.cli.errors import Debug, command

WRONG = 1


@command
def verify(
    paths: Annotated[
        list[Path],
        typer.Argument(
            metavar="PATH...", help="Saved files, or folders that contain them.", show_default=False
        ),
    ],
    debug: Debug = False,
) -> None:
    """Check that saved results, networks and checkpoints have not changed since they were written.

    Searches the folders recursively for `result.json`, `shard.json`, `card.json`, `monitor.json` and
    safetensors files. Compares the SHA-256 of each with the digest that the file contains, and with the one
    in the JSON file next to it. Prints one line per file. Files of earlier versions have no digest, which is
    not an error.

    Exits with code 1 if a file is damaged or missing, or if files of different results were mixed; with code
    2 if there is nothing to check.

    Examples:

        invariscope verify runs/plain
        invariscope verify runs networks/plain/card.json
    """
    from invariscope.cli.saved_files import Finding, findings

    found: list[Finding] = [finding for path in paths for finding in _found(findings(path), path)]
    for finding in found:
        show_line(str(finding))
    if any(finding.wrong for finding in found):
        raise typer.Exit(WRONG)


def _found(found: Iterator, path: Path) -> list:
    """Return the findings as a list.

    Raises:
        FileNotFoundError: there are no files to check.
    """
    listed = list(found)
    if not listed:
        raise FileNotFoundError(f"{path} contains no saved result, network or checkpoint")
    return listed
