"""`invariscope curve`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from invariscope.cli import options as shared
from invariscope.cli.console import notice, show, show_line
from invariscope.cli.errors import Debug, command
from invariscope.cli.folders import staged_folder
from invariscope.cli.options import arguments, opt

if TYPE_CHECKING:
    from invariscope.results.result import Result

_USUAL = Path("curve")


@command
def curve(
    model: shared.Model,
    data: shared.Data,
    radii: Annotated[
        int,
        opt(
            "How many sizes of deformation, in equal ratios: from ones far below a pixel to ones that "
            "fold the image.",
            "INT",
        ),
    ] = 30,
    cutoff: Annotated[int, opt("Most half waves across a deformation: more is finer.", "INT")] = 3,
    layers: Annotated[
        list[str] | None, opt("Also layers that match, such as `conv*`. May repeat.", "GLOB", shown="output")
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
    import invariscope as iv
    from invariscope.cli.models import loaded

    given = arguments(iv.measure, locals()) | arguments(iv.stability_curve, locals())
    with staged_folder(out, usual=_USUAL, overwrite=overwrite) as stage:
        named, inputs = loaded(model, data, weights=weights, split=split, data_dir=data_dir, seed=seed)
        given |= {"model": named.model, "data": inputs, "label": label or named.label}
        given["layers"] = layers or "output"
        found = named.summary(iv.stability_curve(**given))
        found.save(stage)
        found.report(stage / "report.html")
    _show(found, out)


def _show(result: Result, out: Path) -> None:
    from invariscope.cli.curves import bump_table, radius_remarks, radius_tables
    from invariscope.cli.tables import remarks

    for table in radius_tables(result):
        show(table, "")
    show(bump_table(result), "")
    for remark in radius_remarks(result, out) + remarks(result):
        notice(f"note: {remark}")
    show_line(f"{out / 'report.html'}")
