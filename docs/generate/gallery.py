"""Draw every registered plot, and create its page in the gallery."""

from __future__ import annotations

import inspect
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import catalogue
import griffe
import shown
from gallery_examples import EXAMPLES, SETUP, Example
from mathematics import markdown_of

from invariscope.plots import PLOTS, Plot

_LEAD = (
    "Every plot of the library, drawn from small networks on digits when this page is built. Click a figure "
    "for the complete code, how to read it, and its options. All plots also take `theme=`, `title=`, "
    "`figsize=`, `ax=`, `vmin=`, `vmax=` and `cmap=` ([figures](../getting_started.md#figures)). On the "
    "command line, use `invariscope plot NAME run`."
)
_NO_EXAMPLE = "The gallery has no example of this plot yet."


@dataclass(frozen=True)
class Drawn:
    """A plot's figure and the code that makes it.

    Args:
        image: PNG file; empty if no example has what the plot shows.
        line: the last line of the code, which draws the figure.
        code: fenced code blocks, the line included.
    """

    image: bytes = b""
    line: str = ""
    code: str = ""


@dataclass(frozen=True)
class Measured:
    """An example with its results, by name of the cell for a recipe."""

    example: Example
    results: Sequence[Any]
    cells: Sequence[str] = ()


def files() -> dict[str, str | bytes]:
    """Return the pages and images of the gallery by path."""
    drawn = _made()
    plots = sorted(PLOTS.classes().items(), key=lambda pair: (pair[1].order, pair[0]))
    pages: dict[str, str | bytes] = {"gallery/index.md": _overview(plots, drawn)}
    for name, plot in plots:
        pages[f"gallery/{name}.md"] = _page(name, plot, drawn[name])
        if drawn[name].image:
            pages[f"gallery/{name}.png"] = drawn[name].image
    return pages


def _overview(plots: Sequence[tuple[str, type[Plot]]], drawn: dict[str, Drawn]) -> str:
    cards = [_card(name, plot, drawn[name]) for name, plot in plots]
    return "\n\n".join(["# Plot gallery", _LEAD, '<div class="gallery" markdown>', *cards, "</div>", ""])


def _card(name: str, plot: type[Plot], drawn: Drawn) -> str:
    image = f"[![{plot.title}]({name}.png)]({name}.md)" if drawn.image else _NO_EXAMPLE
    sentence = markdown_of(inspect.getdoc(plot) or "").split("\n\n")[0]
    parts = [f"**[{plot.title}]({name}.md)**", image, sentence, f"```python\n{drawn.line}\n```"]
    parts.append(f"[How to read it, and options]({name}.md#options)")
    return "\n\n".join(['<div markdown="1">', *parts, "</div>"])


def _page(name: str, plot: type[Plot], drawn: Drawn) -> str:
    image = f"![{plot.title}]({name}.png)" if drawn.image else _NO_EXAMPLE
    parts = [f"# {plot.title}", f"`{name}`: {markdown_of(inspect.getdoc(plot) or '').split(chr(10) * 2)[0]}"]
    parts += [
        image,
        f"{plot.reading} {plot.details}".rstrip(),
        "## Code",
        drawn.code or _NO_EXAMPLE,
        _options(plot),
    ]
    return "\n\n".join([*parts, ""])


def _options(plot: type[Plot]) -> str:
    """Return the options of `prepare`, with the descriptions from its docstring."""
    described = {}
    for part in griffe.Docstring(inspect.getdoc(plot.prepare) or "").parse("google", warnings=False):
        if part.kind is griffe.DocstringSectionKind.parameters:
            described |= {name.strip(): one.description for one in part.value for name in one.name.split(",")}
    options = [p for p in inspect.signature(plot.prepare).parameters.values() if p.kind is p.KEYWORD_ONLY]
    if not options:
        return "## Options\n\nNone of its own."
    rows = [
        f"| `{p.name}` | {catalogue.default(p.default)} | {catalogue.cell(described.get(p.name, ''))} |"
        for p in options
    ]
    return "\n".join(["## Options", "", "| option | default | |", "|---|---|---|", *rows])


@cache
def _made() -> dict[str, Drawn]:
    """Run all examples once, and return the drawing of each plot."""
    names: dict[str, Any] = {}
    with shown.scratch():
        shown.run(SETUP, names, "gallery")
        measured = [_measured(example, names) for example in EXAMPLES]
        return {name: _drawn(name, plot, measured) for name, plot in PLOTS.classes().items()}


def _measured(example: Example, names: dict[str, Any]) -> Measured:
    if example.recipe:
        found = _cells(example)
        return Measured(example, list(found.values()), list(found))
    shown.run(example.code, names, "gallery")
    return Measured(example, names["results"])


def _cells(example: Example) -> dict[str, Any]:
    """Run a recipe in this process, and return the results of its cells."""
    from invariscope import load
    from invariscope.lab import recipes

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, example.recipe)
        path.write_text(example.code)
        plan = recipes.load(str(path))
        store = recipes.Store(Path(folder, "run"), plan)
        for cell in plan.cells:
            recipes.run_cell(store, cell, threads=1, log=lambda line: None)
        results = {cell.name: store.folder(cell) / "result" for cell in plan.cells}
        return {name: load(place) for name, place in results.items() if place.is_dir()}


def _drawn(name: str, plot: type[Plot], measured: Sequence[Measured]) -> Drawn:
    """Draw a plot from the first example that lists it or, if none does, that has what it shows."""
    chosen = [one for one in measured if name in one.example.lines] or list(measured)
    for one in chosen:
        if not one.cells and plot.views(one.results):
            return _from_python(name, one)
        for cell, result in zip(one.cells, one.results, strict=False):
            if plot.views([result]):
                return _from_recipe(name, plot, one.example, cell, result)
    return Drawn()


def _from_python(name: str, one: Measured) -> Drawn:
    import invariscope as iv

    line = one.example.lines.get(name, f'iv.plot("{name}", results)')
    figure, _ = shown.run(line, {"iv": iv, "results": one.results}, f"gallery/{name}")
    code = "\n".join([SETUP, one.example.code, line])
    return Drawn(shown.png(figure), line, f"```python\n{code}\n```")


def _from_recipe(name: str, plot: type[Plot], example: Example, cell: str, result: Any) -> Drawn:
    """Draw a plot of a recipe's cell; the code is the recipe with this figure, and its command."""
    import invariscope as iv

    image, _ = shown.run(f'iv.plot("{name}", results)', {"iv": iv, "results": [result]}, name)
    figure = f'[[figures]]\ntitle = "{plot.title}"\nplot = "{name}"\ncells = ["{cell}"]\n'
    line = f"invariscope reproduce {example.recipe} --out run"
    return Drawn(
        shown.png(image),
        line,
        f"The file `{example.recipe}`, a [recipe](../reproductions/running.md#your-own-recipe):\n\n"
        f"```toml\n{example.code}\n{figure}```\n\nRun it with\n\n```console\n{line}\n```",
    )
