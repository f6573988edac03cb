"""The command line application."""

from __future__ import annotations

from typing import Annotated

import typer

import invariscope
from invariscope.cli.commands.check import check
from invariscope.cli.commands.compare import compare
from invariscope.cli.commands.curve import curve
from invariscope.cli.commands.demo import demo
from invariscope.cli.commands.explain import explain
from invariscope.cli.commands.listing import listing
from invariscope.cli.commands.measure import measure
from invariscope.cli.commands.merge import merge
from invariscope.cli.commands.plot import plot
from invariscope.cli.commands.report import report
from invariscope.cli.commands.reproduce import reproduce
from invariscope.cli.commands.serve import serve
from invariscope.cli.commands.train import train
from invariscope.cli.commands.verify import verify

app = typer.Typer(
    name="invariscope",
    help="Measure how a neural network's representations respond when its inputs are transformed.\n\n"
    "Start with `invariscope demo`. Run `invariscope COMMAND --help` for examples of each command.",
    rich_markup_mode="markdown",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"invariscope {invariscope.__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None: ...


_MAKING = (demo, train, measure, merge, curve)
_SHOWING = (report, serve, plot, compare, check, verify, reproduce, explain)
for _command in (*_MAKING, *_SHOWING):
    app.command()(_command)
app.add_typer(listing, name="list")
