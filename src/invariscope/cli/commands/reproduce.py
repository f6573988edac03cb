"""`invariscope reproduce`."""

from __future__ import annotations

import math
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from invariscope.cli import options as shared
from invariscope.cli.console import complain, notice, show, show_line
from invariscope.cli.errors import Debug, Interrupted, command
from invariscope.cli.options import flag, opt
from invariscope.common.publishing import claimed, kind_of

if TYPE_CHECKING:
    from invariscope.lab.recipes import Archive, Cell, Store
    from invariscope.lab.recipes.running import RunSummary

FAILED = 1
ARCHIVE = Path("reproductions")
DEVICES = ("cpu", "cuda")


@command
def reproduce(
    name: Annotated[
        str,
        typer.Argument(
            metavar="RECIPE",
            help="A recipe such as `quiroga2019` (see `invariscope list recipes`), or a `.toml` file.",
            show_default=False,
        ),
    ],
    out: Annotated[
        Path | None, opt("Folder for the cells and the page.", "FOLDER", shown="the recipe's name")
    ] = None,
    scale: Annotated[
        str | None, opt("Scale of the schedule; `paper` is the published one.", "NAME", shown="campaign")
    ] = None,
    seeds: Annotated[
        str | None, opt("Seeds of the training runs, for a replication.", "INT,INT,...", shown="the recipe's")
    ] = None,
    only: Annotated[
        list[str] | None,
        opt(
            "Run only matching cells, such as `*/mnist/*`, and the cells that they depend on.",
            "PATTERN",
            shown="all",
        ),
    ] = None,
    data_dir: shared.DataDir = None,
    archive: Annotated[
        Path | None,
        opt("Folder with finished cells to reuse.", "FOLDER", shown="`reproductions`, if it exists"),
    ] = None,
    data_note: Annotated[str, opt("Note about the data, printed on the page.", "TEXT", shown="none")] = "",
    jobs: Annotated[int, opt("Number of cells to run at a time.", "INT", min=1)] = 1,
    threads: Annotated[
        int | None,
        opt("Number of threads, shared by the running cells.", "INT", shown="all cores", min=1),
    ] = None,
    device: Annotated[str, opt("Device for training and measuring.", "cpu|cuda")] = "cpu",
    page_only: Annotated[bool, flag("Only write the page, from the finished cells.", "--page-only")] = False,
    dry_run: Annotated[bool, flag("List the data sets, estimate the time and stop.", "--dry-run")] = False,
    cells: Annotated[bool, flag("List the cells and stop.", "--cells")] = False,
    cell: Annotated[
        str | None, opt("Run only this cell, given by number or name, in this process.", "CELL", shown="all")
    ] = None,
    debug: Debug = False,
) -> None:
    """Reproduce a published experiment and write a page that compares our numbers with the published ones.

    A cell is one training run or one measurement, and runs in its own process. Finished cells are kept in
    `--out` and run again only if options that they depend on have changed. Cells found in the archive are
    reused and do not need the data; if all cells are in the archive, only the page is written.

    Examples:

        invariscope reproduce quiroga2019 --dry-run --data-dir data
        invariscope reproduce quiroga2019 --out runs/2019 --data-dir data --jobs 2
        invariscope reproduce quiroga2019 --only '*/mnist/simple_conv/*'
        invariscope reproduce quiroga2019 --scale paper --cell 3 --data-dir data
    """
    from invariscope.lab import recipes

    plan = recipes.load(name, scale=scale, seeds=_integers(seeds))
    out = out or Path(Path(name).stem)
    _refuse_unwritable(out)
    _check_device(device)
    threads = threads or os.cpu_count() or 1
    chosen = plan.with_needs(plan.matching(only or []))
    if cells or dry_run:
        with _unchanged(out) as folder:
            store = recipes.Store(folder, plan, data_dir, _archive(archive))
            if cells:
                _list(chosen, store)
                return
            recipes.refuse_missing_data(_to_run(store, chosen), data_dir)
            _estimate(store, chosen, jobs, threads)
        return
    store = recipes.Store(out, plan, data_dir, _archive(archive))
    wanted = chosen if cell is None else plan.with_needs((plan[cell],))
    if not page_only:
        recipes.refuse_missing_data(_to_run(store, wanted), data_dir)
    out.mkdir(parents=True, exist_ok=True)
    if cell is not None:
        _run_one(store, plan[cell], threads, device)
    elif page_only:
        show_line(str(recipes.Page(recipes.Outcomes(store), data_note).write(out / f"{Path(name).stem}.md")))
    else:
        words = ["reproduce", str(name), "--scale", plan.scale, "--out", str(out)]
        words += ["--seeds", seeds] if seeds else []
        words += ["--data-dir", str(data_dir)] if data_dir else []
        words += ["--archive", str(store.archive.root)] if store.archive else []
        words += ["--device", device] if device != "cpu" else []
        with claimed(out, patience_s=0.0):  # the processes of single cells have locks of their own
            outcome = _run_all(store, chosen, [*recipes.own_command(), *words], jobs, threads)
            page = recipes.Page(recipes.Outcomes(store), data_note, outcome.failed)
            show_line(str(page.write(out / f"{Path(name).stem}.md")))
        if outcome.failed:
            complain(f"{len(outcome.failed)} of {len(chosen)} cells failed; the page gives the reasons.")
            raise typer.Exit(FAILED)


@contextmanager
def _unchanged(out: Path) -> Iterator[Path]:
    """Yield the output folder or, if there is none, a temporary one for what is read from the archive."""
    if out.exists():
        yield out
        return
    with tempfile.TemporaryDirectory() as scratch:
        yield Path(scratch)


def _archive(given: Path | None) -> Archive | None:
    """Return the archive in the given folder, or in the default folder if it exists.

    Raises:
        FileNotFoundError: the given folder does not exist.
    """
    from invariscope.lab import recipes

    if given is not None and not given.is_dir():
        raise FileNotFoundError(f"--archive {given}: the folder does not exist")
    folder = given or ARCHIVE
    return recipes.Archive(folder, report=notice) if folder.is_dir() else None


def _check_device(device: str) -> None:
    from invariscope.lab.recipes.machine import check_device

    if device not in DEVICES:
        raise ValueError(f"--device must be {' or '.join(DEVICES)}, got {device!r}")
    check_device(device)


def _to_run(store: Store, cells: tuple[Cell, ...]) -> list[Cell]:
    """Return the unfinished cells, or all cells if there is no archive or no data to identify them by."""
    from invariscope.lab import recipes

    if store.archive is None:
        return list(cells)
    try:
        return recipes.unfinished(store, cells, notice)
    except FileNotFoundError:
        return list(cells)


def _integers(text: str | None) -> list[int] | None:
    """Return seeds from a comma-separated list.

    >>> _integers("100,101, 102")
    [100, 101, 102]
    """
    try:
        return None if text is None else [int(part) for part in text.split(",")]
    except ValueError as error:
        raise ValueError(f"--seeds must be integers separated by commas, got {text!r}") from error


def _refuse_unwritable(out: Path) -> None:
    """Raise ValueError for a folder that cannot be created or written to, without creating it."""
    path = Path(os.path.realpath(out))
    there = next(place for place in (path, *path.parents) if os.path.lexists(place))
    if (kind := kind_of(there)) == "a folder" and os.access(there, os.W_OK | os.X_OK):
        return
    where = "it" if there == path else str(there)
    why = "is not writable" if kind == "a folder" else f"is {kind}"
    raise ValueError(f"--out {out} cannot hold the cells: {where} {why}. Give a writable folder.")


def _list(chosen: tuple[Cell, ...], store: Store) -> None:
    from invariscope.cli.tables import plain_table
    from invariscope.lab import recipes

    rows = []
    for cell in chosen:
        number = str(store.plan.cells.index(cell))
        rows.append([cell.name, cell.kind, number, str(cell.stage), _state(store, cell)])
    show(
        plain_table(
            f"Cells of {store.plan.recipe.title}", ["cell", "kind", "number", "stage", ""], rows, text=2
        )
    )
    missing = recipes.missing_data(chosen, store.data_dir)
    lost = f"; not found: {', '.join(missing)} (give their folder with --data-dir)" if missing else ""
    notice(f"data sets: {recipes.data_in_words(chosen)}{lost}")
    stages = sorted({cell.stage for cell in store.plan.cells})
    for stage in stages:
        numbers = [n for n, cell in enumerate(store.plan.cells) if cell.stage == stage]
        notice(f"stage {stage}: cells {numbers[0]} to {numbers[-1]}")


def _state(store: Store, cell: Cell) -> str:
    try:
        if store.archived(cell):
            return "in the archive"
        return "finished" if store.manifest(cell) else "to do"
    except FileNotFoundError:
        return "no data"
    except ValueError:
        return "damaged"


def _run_one(store: Store, cell: Cell, threads: int, device: str) -> None:
    from invariscope.lab import recipes
    from invariscope.lab.recipes.stopping import PATIENCE_S, end_with_parent, stopping_gently

    options = {"threads": threads, "device": device, "log": notice}
    try:
        with stopping_gently():
            end_with_parent()
            ran = recipes.run_cell(store, cell, **options, patience_s=PATIENCE_S)
    except recipes.BusyError as error:
        complain(f"{error}.")
        raise typer.Exit(FAILED) from None
    except KeyboardInterrupt:
        raise Interrupted("the cell is unfinished; run the same command again to resume it.") from None
    show_line(str(store.folder(cell)))
    if not ran:
        notice("the cell was already finished")


def _estimate(store: Store, chosen: tuple[Cell, ...], jobs: int, threads: int) -> None:
    from invariscope.cli.tables import plain_table
    from invariscope.lab import recipes

    notice(f"data sets: {recipes.data_in_words(chosen)}")
    waiting = recipes.unfinished(store, chosen, notice)
    share = max(1, threads // jobs)
    seconds = recipes.estimated(store, waiting, threads=share, log=notice)
    known = {name: value for name, value in seconds.items() if math.isfinite(value)}
    rows = [[name, f"{seconds[name] / 60:.1f}" if name in known else "unknown"] for name in seconds]
    show(plain_table("Cells to run", ["cell", "minutes"], rows))
    total = sum(known.values()) / jobs / 60
    done = len(chosen) - len(waiting)
    show_line(
        f"about {total:.0f} minutes for {len(known)} cells, {jobs} at a time with {share} thread(s) each; "
        f"{done} are already finished."
    )


def _run_all(store: Store, chosen: tuple[Cell, ...], words: list[str], jobs: int, threads: int) -> RunSummary:
    from invariscope.lab import recipes

    try:
        return recipes.CellRunner(store, words, jobs, threads, notice)(chosen)
    except KeyboardInterrupt:
        done = len(chosen) - len(recipes.unfinished(store, chosen, notice))
        text = f"{done} of {len(chosen)} cells are finished; run the same command again to continue."
        raise Interrupted(text) from None
