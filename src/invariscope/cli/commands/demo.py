"""`invariscope demo`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from invariscope.cli.console import notice, show, show_line
from invariscope.cli.errors import Debug, command
from invariscope.cli.options import flag
from invariscope.common.progress import terminal_bars

if TYPE_CHECKING:
    from invariscope.demo import Demonstration


@command
def demo(
    out: Annotated[Path, flag("Folder for the networks, the results and the report.")] = Path(
        "invariscope-demo"
    ),
    seed: Annotated[int, flag("Seed of all random draws.")] = 0,
    plain_epochs: Annotated[int | None, typer.Option(hidden=True)] = None,
    rotated_epochs: Annotated[int | None, typer.Option(hidden=True)] = None,
    training_digits: Annotated[int | None, typer.Option(hidden=True)] = None,
    digits: Annotated[int | None, typer.Option(hidden=True)] = None,
    filters: Annotated[int | None, typer.Option(hidden=True)] = None,
    debug: Debug = False,
) -> None:
    """Train two small networks on real digits, upright and rotated, and show which layers are invariant.

    Takes a minute or two on two cores and needs neither network access nor data. A second run with the same
    settings in the same folder reuses the networks of the first.

    Examples:

        invariscope demo
        invariscope demo --out somewhere --seed 1
    """
    chosen = {
        "seed": seed,
        "plain_epochs": plain_epochs,
        "rotated_epochs": rotated_epochs,
        "training_digits": training_digits,
        "digits": digits,
        "filters": filters,
    }
    from invariscope.demo import DemoSettings, run

    settings = DemoSettings(**{name: value for name, value in chosen.items() if value is not None})
    _show(run(out, settings=settings, bars=terminal_bars, log=notice))


def _show(shown: Demonstration) -> None:
    from invariscope.cli.tables import difference_table

    show("", difference_table(shown.differences, "Normalized variance under rotation: 0 means invariant"), "")
    show(shown.sentence)
    show_line(str(shown.report))
