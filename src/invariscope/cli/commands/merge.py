"""`invariscope merge`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from invariscope.cli import options as shared
from invariscope.cli.errors import Debug, command
from invariscope.cli.folders import SHARD_FILES, put, staged_folder

_USUAL = Path("run")


@command
def merge(
    folders: Annotated[
        list[Path],
        typer.Argument(
            metavar="FOLDER...",
            help="Folders of all shards, written by `measure --shard`, or the folder that contains them.",
            show_default=False,
        ),
    ],
    out: shared.Out = _USUAL,
    overwrite: shared.Overwrite = False,
    debug: Debug = False,
) -> None:
    """Merge the shards of a measurement into the result that a single process would give.

    Prints a table, and writes `result.json`, `maps.safetensors` and `report.html` to the folder `--out`. A
    shard that is missing, given twice, or part of another measurement is an error.

    Examples:

        invariscope merge shards
        invariscope merge shards/shard-* --out runs/plain
    """
    import invariscope as iv
    from invariscope.cli.commands.measure import show_result

    with staged_folder(out, usual=_USUAL, overwrite=overwrite, removes=SHARD_FILES) as stage:
        result = iv.merge([part for folder in folders for part in _shards(folder)])
        put(result, stage, out)
    show_result(result, out)


def _shards(folder: Path) -> list[Path]:
    """Return the shard folders in a folder, or the folder itself if there are none."""
    from invariscope.common.publishing import settle
    from invariscope.results.shard import SHARD_NAME

    for inside in folder.glob("*/"):
        settle(inside)
    return sorted(path.parent for path in folder.glob(f"*/{SHARD_NAME}")) or [folder]
