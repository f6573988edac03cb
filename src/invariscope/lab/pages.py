"""Write the pages of all recipes, their figures and their summaries from the archive: `make pages`.

Needs neither data sets nor training, and takes a few minutes.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

import typer

from invariscope.lab import recipes
from invariscope.lab.agenda import SCALE, read_steps
from invariscope.lab.campaign import STEPS
from invariscope.lab.earlier import causes_table, changes_by_page, counts_table, read_earlier
from invariscope.lab.overview import findings, verdict_table
from invariscope.lab.replication import Replication, replication_summary, replications

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
        plan = recipes.load(name, scale=SCALE)
        with tempfile.TemporaryDirectory() as scratch:  # cells are unpacked there
            store = recipes.Store(Path(scratch), plan, archive=recipes.Archive(archive, report=_say))
            pages[name] = recipes.Page(recipes.Outcomes(store))
            pages[name].write(out / f"{name}.md")
        _say(f"{name}: {pages[name].summary}")
    return pages


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
    pages: Mapping[str, recipes.Page], repeated: Sequence[Replication]
) -> dict[str, dict[str, str]]:
    """Return the blocks of the pages that summarise all recipes, by file."""
    earlier = read_earlier()
    return {
        "index.md": {"verdicts": verdict_table(pages), "findings": findings(pages)},
        "verdicts.md": {
            "counts": counts_table(pages, earlier),
            "reasons": causes_table(pages, earlier),
            "changes": changes_by_page(pages, earlier),
            "replications": replication_summary(repeated),
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
        for name, blocks in summaries(pages, replications(read_steps(STEPS), archive)).items():
            if (out / name).is_file():
                fill_blocks(out / name, blocks)


def _say(text: str) -> None:
    typer.echo(text, err=True)


if __name__ == "__main__":
    typer.run(main)
