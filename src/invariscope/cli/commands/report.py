"""`invariscope report`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from invariscope.cli import options as shared
from invariscope.cli.console import show_line
from invariscope.cli.errors import Debug, command
from invariscope.cli.folders import refuse_other_file, staged_file
from invariscope.cli.options import flag


@command
def report(
    runs: Annotated[
        list[Path], typer.Argument(metavar="RUN...", help="Folders written by `measure`.", show_default=False)
    ],
    out: Annotated[Path, flag("File to write.")] = Path("report.html"),
    overwrite: shared.Overwrite = False,
    debug: Debug = False,
) -> None:
    """Write an HTML report on one run, or on several runs side by side.

    The report is a single file that opens offline.

    Examples:

        invariscope report runs/plain
        invariscope report runs/plain runs/rotated --out comparison.html
    """
    import invariscope as iv

    found = [iv.load(run) for run in runs]
    if overwrite:
        refuse_other_file(out, [b"<!doctype html", b"<html"], "an HTML page")
    with staged_file(out, overwrite=overwrite) as page:
        iv.report(found, page)
    show_line(str(out))
