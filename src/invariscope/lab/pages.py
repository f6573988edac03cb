"""Write the pages of all recipes, their figures and their summaries from the archive: `make pages`.

Needs neither data sets nor training, and takes a few minutes.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated

import typer

from invariscope.lab import recipes
from invariscope.lab.agenda import SCALE, AgendaStep, read_steps
from invariscope.lab.campaign import STEPS
from invariscope.lab.earlier import causes_table, changes_by_page, counts_table, read_earlier
from invariscope.lab.overview import findings, verdict_table
from invariscope.lab.recipes.verdicts import ClaimVerdict
from invariscope.lab.replication import replication_tables

ARCHIVE, OUT = Path("reproductions"), Path("docs/reproductions")
BAD_INPUT = 2


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
        with _page(name, archive) as page:
            page.write(out / f"{name}.md")
        pages[name] = page
        _say(f"{name}: {page.summary}")
    return pages


def fresh_verdicts(steps: Sequence[AgendaStep], archive: Path) -> dict[str, list[ClaimVerdict]]:
    """Return the verdicts from fresh training runs alone, for each recipe of a step with seeds."""
    found = {}
    for step in steps:
        if step.seeds:
            with _page(step.recipe, archive, seeds=step.seeds) as page:
                found[step.recipe] = page.verdicts
    return found


@contextlib.contextmanager
def _page(name: str, archive: Path, *, seeds: Sequence[int] | None = None) -> Iterator[recipes.Page]:
    """Yield the page of a recipe; its verdicts can be read later, too, but its results cannot."""
    plan = recipes.load(name, scale=SCALE, seeds=seeds)
    with tempfile.TemporaryDirectory() as scratch:  # cells are unpacked there
        store = recipes.Store(Path(scratch), plan, archive=recipes.Archive(archive, report=_say))
        page = recipes.Page(recipes.Outcomes(store))
        _ = page.verdicts
        yield page


def fill_blocks(path: Path, blocks: Mapping[str, str]) -> None:
    """Replace what stands between `<!-- NAME -->` and `<!-- end of NAME -->` in a file, for each block.

    Raises:
        ValueError: the file lacks a block.
    """
    text = path.read_text(encoding="utf-8")
    for name, content in blocks.items():
        start, end = f"<!-- {name} -->\n", f"<!-- end of {name} -->"
        before, found, rest = text.partition(start)
        _, closed, after = rest.partition(end)
        if not (found and closed):
            raise ValueError(f"{path} lacks the block {start.strip()} … {end}")
        text = f"{before}{start}\n{content}\n\n{end}{after}"
    path.write_text(text, encoding="utf-8")


def summaries(
    pages: Mapping[str, recipes.Page], fresh: Mapping[str, Sequence[ClaimVerdict]]
) -> dict[str, dict[str, str]]:
    """Return the blocks of the pages that summarise all recipes, by file.

    Args:
        pages: all pages.
        fresh: verdicts from training runs with fresh seeds, by recipe.
    """
    earlier = read_earlier()
    return {
        "index.md": {"verdicts": verdict_table(pages), "findings": findings(pages)},
        "verdicts.md": {
            "counts": counts_table(pages, earlier),
            "reasons": causes_table(pages, earlier),
            "changes": changes_by_page(pages, earlier),
            "fresh": replication_tables(pages, fresh),
        },
    }


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
    if list(pages) == every:
        fresh = fresh_verdicts(read_steps(STEPS), archive)
        for name, blocks in summaries(pages, fresh).items():
            if (out / name).is_file():
                fill_blocks(out / name, blocks)


def _say(text: str) -> None:
    typer.echo(text, err=True)


if __name__ == "__main__":
    typer.run(main)
