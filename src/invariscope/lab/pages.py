"""Write the pages of all recipes and their figures from the archive: `make pages`.

Needs neither data sets nor training, and takes a few minutes.
"""

from __future__ import annotations

import re
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from invariscope.lab import recipes
from invariscope.lab.agenda import SCALE
from invariscope.lab.recipes.comparison import CONFIRMED, MIXED, REFUTED, UNDECIDED, UNTESTED
from invariscope.lab.recipes.markdown import grid

ARCHIVE, OUT, INDEX = Path("reproductions"), Path("docs/reproductions"), "index.md"
BAD_INPUT = 2
_WORDS = (CONFIRMED, REFUTED, MIXED, UNDECIDED, UNTESTED)
_BLOCK = re.compile(r"(<!-- verdicts -->\n).*?(<!-- end of verdicts -->)", re.S)


def write_pages(names: Sequence[str], archive: Path, out: Path) -> dict[str, recipes.Page]:
    """Write `NAME.md` and `figures/NAME/` for each recipe, and return the pages by name.

    Args:
        names: recipes of the package.
        archive: folder with the archive of finished cells.
        out: folder of the pages.
    Raises:
        FileNotFoundError: there is no archive.
        ValueError: an unknown recipe.
    """
    if not archive.is_dir():
        raise FileNotFoundError(f"there is no archive in {archive}: run this in the root of the repository")
    pages = {}
    for name in names:
        plan = recipes.load(name, scale=SCALE)
        with tempfile.TemporaryDirectory() as scratch:  # cells are unpacked there
            store = recipes.Store(Path(scratch), plan, archive=recipes.Archive(archive, report=_say))
            pages[name] = recipes.Page(recipes.Outcomes(store))
            pages[name].write(out / f"{name}.md")
        _say(f"{name}: {pages[name].summary}")
    return pages


def verdict_table(pages: dict[str, recipes.Page]) -> str:
    """Return a table of finished cells, and of claims by verdict, with a row per page."""
    counts = {name: Counter(v.word for v in page.verdicts) for name, page in pages.items()}
    columns = [("page", [f"[{name}]({name}.md)" for name in pages])]
    columns.append(("finished cells", [page.finished for page in pages.values()]))
    columns.append(("claims", [str(count.total()) for count in counts.values()]))
    columns += [(word, [str(count[word]) for count in counts.values()]) for word in _WORDS]
    return grid(columns)


def main(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[RECIPE]...", help="Recipes.", show_default="all")
    ] = None,
    archive: Annotated[Path, typer.Option(metavar="FOLDER", help="Folder of the archive.")] = ARCHIVE,
    out: Annotated[Path, typer.Option(metavar="FOLDER", help="Folder of the pages.")] = OUT,
) -> None:
    """Write the pages of recipes and their figures from finished cells; run nothing."""
    every = recipes.names()
    try:
        pages = write_pages(names or every, archive, out)
    except (ValueError, OSError) as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(BAD_INPUT) from None
    index = out / INDEX
    if list(pages) == every and index.is_file():
        text = _BLOCK.sub(rf"\1\n{verdict_table(pages)}\n\n\2", index.read_text(encoding="utf-8"))
        index.write_text(text, encoding="utf-8")


def _say(text: str) -> None:
    typer.echo(text, err=True)


if __name__ == "__main__":
    typer.run(main)
