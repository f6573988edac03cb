"""`invariscope curve`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from invariscope.cli import options as shared
from invariscope.cli.console import notice, show, show_line
from invariscope.cli.errors import Debug, command
from invariscope.cli.folders import staged_folder

if TYPE_CHECKING:
    from invariscope.results.result import Result

_USUAL = Path("curve")


@command
def curve(
    model: shared.Model,
    data: shared.Data,
    radii: Annotated[
        int,
        typer.Option(
            metavar="INT",
            help="How many sizes of deformation, in equal ratios: from ones far below a pixel to ones that "
            "fold the image.",
        ),
    ] = 30,
    cutoff: Annotated[
        int, typer.Option(metavar="INT", help="Most half waves across a deformation: more is finer.")
    ] = 3,
    layers: Annotated[
        list[str] | None,
        typer.Option(
            metavar="GLOB", help="Also layers that match, such as `conv*`. May repeat.", show_default="output"
        ),
    ] = None,
    classes: shared.Classes = None,
    samples: shared.Samples = None,
    out: shared.Out = _USUAL,
    overwrite: shared.Overwrite = False,
    label: shared.Label = None,
    weights: shared.Weights = None,
    split: shared.Split = None,
    data_dir: shared.DataDir = None,
    seed: shared.Seed = 0,
    device: shared.Device = None,
    precision: shared.Precision = "float32",
    output: shared.Output = None,
    gradients: shared.Gradients = False,
    progress: shared.Progress = True,
    debug: Debug = False,
) -> None:
    """Measures how far a model's answers move as its images are moved further and further.

    Smooth deformations of rising size, noise of equal size, and steps of equal size toward another sample.
    Writes `result.json`, `maps.safetensors` and `report.html` into the folder `--out`: all of them, or
    nothing.

    Examples:

        invariscope curve nets/plain mnist_subset
        invariscope curve zoo:lenet mnist_subset --samples 256 --radii 12 --layers 'conv*'
    """
    given = {"label": label, "device": device, "precision": precision, "progress": progress}
    chosen = {
        "radii": radii,
        "cutoff": cutoff,
        "samples": samples,
        "seed": seed,
        "layers": layers or "output",
        "classes": classes,
        "output": output,
        "gradients": gradients,
    }
    with staged_folder(out, usual=_USUAL, overwrite=overwrite) as stage:
        found = _measured(model, data, weights, split, data_dir, given | chosen)
        found.save(stage)
        found.report(stage / "report.html")
    _show(found, out)


def _measured(
    model: str,
    data: str,
    weights: str | None,
    split: str | None,
    data_dir: Path | None,
    options: dict[str, Any],
) -> Result:
    import invariscope as iv
    from invariscope.cli.data import load_data
    from invariscope.cli.naming import named_model

    inputs = load_data(data, split=split, data_dir=data_dir)
    named = named_model(model, weights, inputs, options["seed"])
    options["label"] = options["label"] or named.label
    return named.told(iv.stability_curve(named.model, named.prepared(inputs), **options))


def _show(result: Result, out: Path) -> None:
    from invariscope.cli.curves import bump_table, radius_remarks, radius_tables
    from invariscope.cli.tables import remarks

    for table in radius_tables(result):
        show(table, "")
    show(bump_table(result), "")
    for remark in radius_remarks(result, out) + remarks(result):
        notice(f"note: {remark}")
    show_line(f"{out / 'report.html'}")
