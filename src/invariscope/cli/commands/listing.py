"""`invariscope list`."""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated, Any

import typer

from invariscope.cli import options as shared
from invariscope.cli.console import notice, show
from invariscope.cli.errors import Debug, command

if TYPE_CHECKING:
    from invariscope.readers.base import LayerInfo

listing = typer.Typer(
    help="Lists measures, transforms, models, data sets, plots, recipes, or the layers of a model.",
    rich_markup_mode="markdown",
    no_args_is_help=True,
)


@listing.command()
@command
def measures(debug: Debug = False) -> None:
    """Lists the measures, and what each says."""
    import invariscope as iv

    _table("measures", iv.list_measures().items(), "`invariscope explain NAME` says more.")


@listing.command()
@command
def transforms(debug: Debug = False) -> None:
    """Lists the transforms, and how to write each."""
    from invariscope.transforms.base import TRANSFORMS

    _table(
        "transforms", _summaries(TRANSFORMS.classes()), "`invariscope explain NAME` shows how to write each."
    )


@listing.command()
@command
def models(debug: Debug = False) -> None:
    """Lists the networks that come with the package, and how to name others."""
    from invariscope.cli.models import FORMS
    from invariscope.zoo.networks import NETWORKS

    zoo = {f"zoo:{name}": factory for name, factory in NETWORKS.classes().items()}
    _table("models", [*_summaries(zoo), *FORMS.items()])


@listing.command()
@command
def datasets(debug: Debug = False) -> None:
    """Lists the data sets that are known by name."""
    from invariscope.zoo.datasets import DATASETS

    _table("data sets", [(name, known.summary) for name, known in DATASETS.items()])


@listing.command()
@command
def plots(debug: Debug = False) -> None:
    """Lists the plots of the report, and how to read each."""
    from invariscope.plots import PLOTS

    rows = [(name, f"{plot.title}. {plot.reading}") for name, plot in PLOTS.classes().items()]
    _table("plots", rows, "`invariscope.plots.draw(NAME, results)` draws one.")


@listing.command()
@command
def recipes(debug: Debug = False) -> None:
    """Lists the published experiments that can be run again."""
    from invariscope.lab.recipes import names, read

    known = {name: read(name) for name in names()}
    rows = [(name, f"{recipe.title}. {recipe.source}") for name, recipe in known.items()]
    _table("recipes", rows, "`invariscope reproduce NAME` runs one.")


@listing.command()
@command
def layers(
    model: shared.Model,
    data: Annotated[
        str | None,
        typer.Argument(
            metavar="[DATA]", help="Needed unless the model takes 28 x 28 grey images.", show_default=False
        ),
    ] = None,
    split: shared.Split = None,
    data_dir: shared.DataDir = None,
    weights: shared.Weights = None,
    gradients: shared.Gradients = False,
    debug: Debug = False,
) -> None:
    """Lists the layers of a model in the order in which they run, with the shape of one sample's units.

    These names, and patterns such as `conv*`, go into `measure --layers`.

    Examples:

        invariscope list layers zoo:resnet18
        invariscope list layers net.py:make photos.npz
    """
    from invariscope.cli.models import loaded
    from invariscope.cli.tables import plain_table
    from invariscope.readers import as_reader

    named, inputs = loaded(model, data or "mnist_subset", weights=weights, split=split, data_dir=data_dir)
    reader = as_reader(named.model, gradients=gradients)
    found = reader.inspect(_few(inputs, channels_last=reader.channels_last))
    rows = [_layer_row(layer) for layer in found.layers]
    show(plain_table(f"Layers of {named.label}", ["layer", "kind", "shape", ""], rows, text=2))
    for remark in (*found.notes, *(f"never ran: {name}" for name in found.unused)):
        notice(f"note: {remark}")


def _few(inputs: Any, count: int = 3, *, channels_last: bool) -> Any:
    """The first samples of whatever `iv.measure` would take."""
    from invariscope.data.sources import as_source

    window = next(iter(as_source(inputs, channels_last=channels_last).windows()))
    return window.part(0, min(count, len(window))).inputs


def _layer_row(layer: LayerInfo) -> list[str]:
    from invariscope.plots.shared.labels import layer_label

    alias = f"same values as {layer_label(*layer.alias_of)}" if layer.alias_of else ""
    status = alias if layer.status == "ok" else f"skipped: {layer.status}"
    return [layer_label(layer.layer, layer.call), layer.kind, " × ".join(map(str, layer.shape)), status]


def _summaries(things: dict[str, Any]) -> list[tuple[str, str]]:
    """Names, and the first sentence of each docstring."""
    documented = ((name, (inspect.getdoc(thing) or "").split("\n\n")[0]) for name, thing in things.items())
    return [(name, " ".join(text.split())) for name, text in documented]


def _table(title: str, rows: Iterable[tuple[str, str]], hint: str = "") -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, show_header=False, pad_edge=False, title=None)
    table.add_column(no_wrap=True, style="bold")
    table.add_column()
    for name, text in rows:
        table.add_row(Text(name), Text(text))
    show(table)
    if hint:
        notice(hint)
