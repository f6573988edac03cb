"""`invariscope curve`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from invariscope.cli import options as shared
from invariscope.cli.console import notice, show, show_line
from invariscope.cli.errors import Debug, command
from invariscope.cli.folders import SHARD_FILES, put, staged_folder
from invariscope.cli.options import opt

if TYPE_CHECKING:
    from invariscope.results.result import Result

_USUAL = Path("curve")


@command
def curve(
    model: shared.Model,
    data: shared.Data,
    origin: shared.Origin,
    settings: shared.RunSettings,
    radii: Annotated[
        int,
        opt("Number of deformation sizes, from far below a pixel to fields that fold the image.", "INT"),
    ] = 30,
    cutoff: Annotated[int, opt("Largest number of half waves in a deformation; larger is finer.", "INT")] = 3,
    layers: Annotated[
        list[str] | None,
        opt("Also measure these layers, such as `conv*`. Can be repeated.", "GLOB", shown="output"),
    ] = None,
    out: shared.Out = _USUAL,
    overwrite: shared.Overwrite = False,
    debug: Debug = False,
) -> None:
    """Measure how a model's output changes under deformations of increasing size.

    Compares smooth deformations with noise of equal size and with steps of equal size toward another sample.
    Writes `result.json`, `maps.safetensors` and `report.html` to the folder `--out`. Either all files are
    written or none.

    Examples:

        invariscope curve nets/plain mnist_subset
        invariscope curve zoo:lenet mnist_subset --samples 256 --radii 12 --layers 'conv*'
    """
    import invariscope as iv
    from invariscope.cli.fitting import class_order
    from invariscope.cli.models import loaded

    with staged_folder(out, usual=_USUAL, overwrite=overwrite, removes=SHARD_FILES) as stage:
        named, inputs = loaded(model, data, origin, seed=settings.seed)
        options = {"radii": radii, "cutoff": cutoff, "layers": layers or "output"}
        options |= settings.keywords(named.label) | named.feeding
        options["classes"] = class_order(settings.classes, named, inputs)
        found = named.summary(iv.stability_curve(named.model, inputs, **options))
        put(found, stage, out)
    _show(found, out)


def _show(result: Result, out: Path) -> None:
    from invariscope.cli.curves import bump_table, radius_remarks, radius_tables
    from invariscope.cli.tables import remarks

    for table in radius_tables(result):
        show(table, "")
    show(bump_table(result), "")
    for remark in radius_remarks(result, out) + remarks(result):
        notice(f"note: {remark}")
    show_line(str(out / "report.html"))
