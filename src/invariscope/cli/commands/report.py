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

_PAGE = ([b"<!doctype html", b"<html"], "an HTML page")
_CARD = ([b"---\nmodel-index: ["], "a model card of this command")


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

    The report is a single file that opens offline. A file name ending in .md gives a model card for the
    Hugging Face Hub instead, on one run.

    Examples:

        invariscope report runs/plain
        invariscope report runs/plain runs/rotated --out comparison.html
        invariscope report runs/plain --out card.md
    """
    import invariscope as iv

    card = out.suffix == ".md"
    if card and len(runs) > 1:
        raise ValueError(f"a model card is on one run, got {len(runs)}; give one, or --out report.html")
    found = [iv.load(run) for run in runs]
    if overwrite:
        refuse_other_file(out, *(_CARD if card else _PAGE))
    with staged_file(out, overwrite=overwrite) as page:
        if card:
            found[0].model_card().save(page)
        else:
            iv.report(found, page)
    show_line(str(out))
