"""Draw every plot with few and many layers and results at the width of a column, and sheets of all of them.

    python tests/plots/figure_sheet.py --out FOLDER [--only layer_profile] [--theme paper]

Prints the faults of each figure, and writes one PNG per figure and one contact sheet per plot.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from figure_checks import faults
from figure_samples import LAYERS, RESULTS, samples, variants
from PIL import Image

import invariscope as iv
from invariscope.plots import PLOTS

DPI, MARGIN = 200, 24


def draw(name: str, layers: int, results: int, options: dict, theme: str):
    """Return the figure of one plot."""
    return iv.plot(name, list(samples(layers, results)), theme=theme, **options)


def drawn(name: str, folder: Path, theme: str) -> list[Path]:
    """Draw one plot in all ways, and return the files."""
    found = []
    for number, options in enumerate(variants(name)):
        for layers in LAYERS if not number else LAYERS[1:2]:
            for results in RESULTS:
                try:
                    figure = draw(name, layers, results, options, theme)
                except ValueError as error:  # more results than fit on a page
                    print(f"{name}-{number}-{layers}-{results}: {error}")
                    continue
                path = folder / f"{name}-{number}-{layers}-{results}.png"
                figure.savefig(path, dpi=DPI)
                found.append(path)
                size = " x ".join(f"{side:.1f}" for side in figure.get_size_inches())
                print(f"{path.stem}: {size} in", *faults(figure)[:12], sep="\n    ")
    return found


def sheet(paths: list[Path], path: Path, columns: int = 3) -> None:
    """Put images beside each other, `columns` in a row."""
    images = [Image.open(one).convert("RGB") for one in paths]
    rows = [images[i : i + columns] for i in range(0, len(images), columns)]
    width = max(sum(image.width + MARGIN for image in row) for row in rows)
    height = sum(max(image.height for image in row) + MARGIN for row in rows)
    whole = Image.fromarray(np.full((height, width, 3), 225, np.uint8))
    top = 0
    for row in rows:
        left = 0
        for image in row:
            whole.paste(image, (left, top))
            left += image.width + MARGIN
        top += max(image.height for image in row) + MARGIN
    whole.save(path)


def main() -> None:
    """Draw the plots asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--only", nargs="*", default=PLOTS.names())
    parser.add_argument("--theme", default="paper")
    asked = parser.parse_args()
    asked.out.mkdir(parents=True, exist_ok=True)
    for name in asked.only:
        sheet(drawn(name, asked.out, asked.theme), asked.out / f"sheet-{name}.png")


if __name__ == "__main__":
    main()
