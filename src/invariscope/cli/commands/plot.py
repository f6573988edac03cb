"""`invariscope plot`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from invariscope.cli import options as shared
from invariscope.cli.completion import plot_names
from invariscope.cli.console import show_line
from invariscope.cli.errors import Debug, command
from invariscope.cli.folders import staged_file
from invariscope.cli.options import opt

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_SIZE = re.compile(r"(\d+\.?\d*|\.\d+)\s*[x×,]\s*(\d+\.?\d*|\.\d+)")
# Dots per inch of raster formats, and the limits of what is useful and fits in memory.
DPI, _LEAST_DPI, _MOST_DPI = 200, 20, 2400


@dataclass(frozen=True, kw_only=True)
class LookSettings:
    """Options that all plots accept; see `Look`."""

    theme: Annotated[str, opt("`light`, `dark`, or `paper` (3.4 inches wide, 8-point text).", "NAME")] = (
        "light"
    )
    figsize: Annotated[
        str | None,
        opt("Width and height in inches, such as `3.4x2.4`.", "WxH", shown="depends on the plot"),
    ] = None
    title: Annotated[str | None, opt("Title of the figure.", "TEXT", shown="the plot's own")] = None
    vmin: Annotated[
        float | None, opt("Lower end of the colour scale or value axis.", "FLOAT", shown="from the values")
    ] = None
    vmax: Annotated[
        float | None, opt("Upper end of the colour scale or value axis.", "FLOAT", shown="from the values")
    ] = None
    cmap: Annotated[str, opt("Name of a matplotlib colour map.", "NAME")] = "viridis"

    def keywords(self) -> dict[str, Any]:
        """Return the options as keyword arguments of `iv.plot`.

        Raises:
            ValueError: an option has an invalid value.
        """
        from invariscope.plots.shared.look import Look

        found: dict[str, Any] = vars(self) | {"figsize": _size(self.figsize)}
        Look(**found)
        return found


@command
def plot(
    name: Annotated[
        str,
        typer.Argument(
            metavar="PLOT",
            show_default=False,
            autocompletion=plot_names,
            help="A plot, with options in Python syntax if needed: `layer_profile`, "
            '`layer_profile(stratum="mean")`. `invariscope list plots` shows all.',
        ),
    ],
    runs: Annotated[
        list[Path], typer.Argument(metavar="RUN...", help="Folders written by `measure`.", show_default=False)
    ],
    look: LookSettings,
    measure: Annotated[
        str | None, opt("Measure to show.", "NAME", "--measure", "-m", shown="depends on the plot")
    ] = None,
    layers: Annotated[
        list[str] | None,
        opt(
            "Show only matching layers, such as `conv*`. Can be repeated; `*` shows all layers, even of a "
            "deep network.",
            "GLOB",
            shown="up to 40",
        ),
    ] = None,
    out: Annotated[
        Path, opt("File to write; its suffix determines the format: pdf, svg, png and others.", "FILE")
    ] = Path("figure.pdf"),
    dpi: Annotated[int, opt("Dots per inch of raster formats such as png.", "N")] = DPI,
    overwrite: shared.Overwrite = False,
    debug: Debug = False,
) -> None:
    """Plot one run, or several runs on a common scale.

    Text in PDF and SVG files remains selectable.

    Examples:

        invariscope plot layer_profile runs/plain runs/rotated --out profile.pdf --theme paper
        invariscope plot unit_heatmap runs/plain --layers 'conv*' --vmax 1.5 --out units.svg
        invariscope plot 'layer_profile(stratum="mean", relative=True)' runs/plain --out profile.png
    """
    import invariscope as iv
    from invariscope.cli.expressions import read_plot

    kind, style = _format(out), look.keywords()
    if not _LEAST_DPI <= dpi <= _MOST_DPI:
        raise ValueError(f"--dpi must be from {_LEAST_DPI} to {_MOST_DPI}; got {dpi}")
    plotted, options = read_plot(name)
    options |= {"measure": measure} if measure is not None else {}
    options |= {"layers": layers} if layers else {}
    _refuse_unknown(plotted, options)
    results = [iv.load(run) for run in runs]
    with staged_file(out, overwrite=overwrite) as scratch:
        _save(iv.plot(plotted, results, **style, **options), scratch, kind, dpi)
    show_line(str(out))


def _size(text: str | None) -> tuple[float, float] | None:
    """Parse a size such as "3.4x2.4" into (width, height)."""
    if text is None:
        return None
    found = _SIZE.fullmatch(text.strip())
    if found is None:
        raise ValueError(f"--figsize must be WIDTHxHEIGHT in inches, such as 3.4x2.4; got {text!r}")
    return float(found[1]), float(found[2])


def _format(out: Path) -> str:
    """Return the format that a file's suffix stands for.

    Raises:
        ValueError: no suffix, or one that matplotlib does not support; the message lists those it supports.
    """
    from matplotlib.backend_bases import FigureCanvasBase

    from invariscope.common.registry import closest

    known, suffix = sorted(FigureCanvasBase.get_supported_filetypes()), out.suffix[1:].lower()
    if suffix in known:
        return suffix
    near = "".join(f" Closest: .{word}." for word in closest(suffix, known, count=1)) if suffix else ""
    what = f"the suffix {out.suffix!r}" if suffix else "no suffix"
    raise ValueError(
        f"--out {out} has {what}, so its format is unknown.{near} matplotlib supports {', '.join(known)}"
    )


def _refuse_unknown(name: str, options: dict[str, Any]) -> None:
    """Raise an error for an unknown plot, or for an option that it does not accept, before runs are read."""
    from functools import partial

    from invariscope.common.registry import refuse_unknown_options
    from invariscope.plots import PLOTS

    refuse_unknown_options(partial(PLOTS.get(name).prepare, None), options, name=f"{name!r}")


def _save(figure: Figure, path: Path, kind: str, dpi: int) -> None:
    """Write a figure.

    Raises:
        ValueError: matplotlib lacks a program or package that the format requires.
    """
    try:
        figure.savefig(path, format=kind, dpi=dpi)
    except (RuntimeError, ImportError) as error:
        raise ValueError(f"matplotlib cannot write {kind} on this computer: {error}") from error
