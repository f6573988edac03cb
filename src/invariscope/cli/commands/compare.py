"""`invariscope compare`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from invariscope.cli.console import notice, show
from invariscope.cli.errors import Debug, command
from invariscope.cli.options import flag


@command
def compare(
    run_a: Annotated[Path, typer.Argument(help="Folder written by `measure`.", show_default=False)],
    run_b: Annotated[
        Path, typer.Argument(help="Folder of another run on the same samples.", show_default=False)
    ],
    stratum: Annotated[str, flag("`all` samples, one class, or the `mean` over classes.")] = "all",
    debug: Debug = False,
) -> None:
    """Show the difference between two runs layer by layer: B minus A, with an interval.

    Both runs must have measured the same samples with the same transform. Differences are paired, so their
    intervals are usually narrower than the separate intervals of the two runs suggest.

    Examples:

        invariscope compare runs/plain runs/rotated
        invariscope compare runs/plain runs/rotated --stratum mean
    """
    import invariscope as iv
    from invariscope.cli.tables import difference_remarks, difference_tables, distinct_names
    from invariscope.common.registry import unknown
    from invariscope.plots.shared.labels import for_tables, headline_first, outside_note, where
    from invariscope.report.findings import compared, transform_name

    runs = distinct_names([iv.load(run_a), iv.load(run_b)])
    differences = for_tables(iv.compare(runs), runs)
    strata = list(dict.fromkeys(differences["stratum"]))
    if stratum not in strata:
        raise unknown("stratum", stratum, strata)
    for table in difference_tables(differences, stratum=stratum):
        show(table, "")
    shown = where(differences, stratum=stratum)
    for remark in difference_remarks(shown):
        notice(f"note: {remark}")
    main = headline_first(shown["measure"])[0]
    of = {"all": "", "mean": " (mean over classes)"}.get(stratum, f" (class {stratum})")
    under = f"{transform_name(runs[0])}{of}"
    show(compared(where(shown, measure=main), main, under))
    for line in outside_note(shown.to_dict("records"), value="difference"):  # type: ignore[arg-type]
        show(line)
    show(
        "p is the p-value of a test for a difference. p (Holm) is adjusted for the number of rows in the "
        "table, and the sentence counts layers by it; intervals are not adjusted."
    )
