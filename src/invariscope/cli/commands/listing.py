"""`invariscope list`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from invariscope.cli import options as shared
from invariscope.cli.console import notice, show
from invariscope.cli.errors import Debug, command

if TYPE_CHECKING:
    from invariscope.cli.named import Named
    from invariscope.readers.base import LayerInfo

listing = typer.Typer(
    help="List measures, transforms, models, data sets, plots, recipes, or the layers of a model.",
    rich_markup_mode="markdown",
    no_args_is_help=True,
)


@listing.command()
@command
def measures(debug: Debug = False) -> None:
    """List the measures, with a sentence about each."""
    import invariscope as iv

    _table(iv.list_measures(), "`invariscope explain NAME` shows details.")


@listing.command()
@command
def transforms(debug: Debug = False) -> None:
    """List the transforms."""
    import invariscope as iv

    _table(iv.list_transforms(), "`invariscope explain NAME` shows how to write each one.")


@listing.command()
@command
def models(debug: Debug = False) -> None:
    """List the networks that come with the package, and the ways to name other models."""
    from invariscope.catalog.listing import first_sentence
    from invariscope.cli.models import FORMS
    from invariscope.zoo.networks import NETWORKS

    _table({f"zoo:{name}": first_sentence(net) for name, net in NETWORKS.classes().items()} | FORMS)


@listing.command()
@command
def datasets(debug: Debug = False) -> None:
    """List the data sets that can be given by name."""
    from invariscope.zoo.datasets import DATASETS

    _table({name: known.summary for name, known in DATASETS.items()})


@listing.command()
@command
def plots(debug: Debug = False) -> None:
    """List the plots of the report, and how to read each one."""
    import invariscope as iv

    _table(
        iv.list_plots(),
        "`invariscope plot NAME RUN` draws one, `invariscope explain NAME` lists its options.",
    )


@listing.command()
@command
def recipes(debug: Debug = False) -> None:
    """List the published experiments that can be reproduced."""
    from invariscope.lab.recipes import names, read

    known = {name: read(name) for name in names()}
    rows = {name: f"{recipe.title}. {recipe.source}" for name, recipe in known.items()}
    _table(rows, "`invariscope reproduce NAME` runs one.")


@listing.command()
@command
def layers(
    model: shared.Model,
    origin: shared.Origin,
    data: Annotated[
        str | None,
        typer.Argument(
            metavar="[DATA]", help="Required unless the model takes 28 × 28 grey images.", show_default=False
        ),
    ] = None,
    gradients: shared.Gradients = False,
    debug: Debug = False,
) -> None:
    """List the layers of a model in execution order, with the shape of each layer's units for one sample.

    If a module runs several times, each call counts as a layer.

    `measure --layers` takes these names, or patterns such as `conv*`.

    Examples:

        invariscope list layers zoo:resnet18
        invariscope list layers net.py:make photos.npz
    """
    from invariscope.cli.models import loaded
    from invariscope.cli.tables import plain_table
    from invariscope.readers import as_reader

    named, inputs = loaded(model, data or "mnist_subset", origin)
    reader = as_reader(named.model, gradients=gradients, **named.feeding)
    found = reader.inspect(_few(named, inputs, channels_last=reader.channels_last))
    rows = [_layer_row(layer) for layer in found.layers]
    title = f"Layers of {named.label} ({len(rows)})"
    show(plain_table(title, ["layer", "kind", "shape", ""], rows, text=2))
    for remark in (*found.notes, *(f"never ran: {name}" for name in found.unused)):
        notice(f"note: {remark}")


def _few(named: Named, inputs: Any, count: int = 3, *, channels_last: bool) -> Any:
    """Return the first samples of any data that `iv.measure` takes."""
    from invariscope.data.sources import as_source

    source = as_source(inputs, structured=True, tensors=named.preprocess is None, channels_last=channels_last)
    window = next(iter(source.windows()))
    return window.part(0, min(count, len(window))).inputs


def _layer_row(layer: LayerInfo) -> list[str]:
    from invariscope.plots.shared.labels import layer_label

    alias = f"same values as {layer_label(*layer.alias_of)}" if layer.alias_of else ""
    status = alias if layer.status == "ok" else f"skipped: {layer.status}"
    return [layer_label(layer.layer, layer.call), layer.kind, " × ".join(map(str, layer.shape)), status]


def _table(rows: Mapping[str, str], hint: str = "") -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, show_header=False, pad_edge=False, title=None)
    table.add_column(no_wrap=True, style="bold")
    table.add_column()
    for name, text in rows.items():
        table.add_row(Text(name), Text(text))
    show(table)
    if hint:
        notice(hint)
