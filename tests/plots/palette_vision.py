"""How colours look with a colour vision deficiency, and how different two of them then are.

`python tests/plots/palette_vision.py FILE.png` draws the colours of all themes as they are seen.
"""

from __future__ import annotations

import sys

import numpy as np
from matplotlib.colors import to_rgb

# Machado, Oliveira and Fernandes 2009, doi:10.1109/TVCG.2009.113, severity 1.0, for linear RGB.
MACHADO = {
    "normal": np.eye(3),
    "protan": np.array([
        [0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998],
    ]),
    "deutan": np.array([
        [0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881],
    ]),
    "tritan": np.array([
        [1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900],
    ]),
}  # fmt: skip
_XYZ = np.array([
    [0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041],
])  # fmt: skip
_WHITE = np.array([0.95047, 1.0, 1.08883])


def linear(rgb):
    """sRGB values in [0, 1] as linear light."""
    rgb = np.asarray(rgb, float)
    return np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)


def encoded(light):
    """Linear light as sRGB values in [0, 1]."""
    light = np.clip(light, 0, 1)
    return np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)


def seen(colour, kind):
    """sRGB values of a colour as seen with a deficiency."""
    return encoded(MACHADO[kind] @ linear(to_rgb(colour)))


def lab(rgb):
    """CIE L*a*b* of sRGB values, for daylight (D65)."""
    share = _XYZ @ linear(rgb) / _WHITE
    f = np.where(share > (6 / 29) ** 3, np.cbrt(share), share / (3 * (6 / 29) ** 2) + 4 / 29)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def difference(one, other, kind):
    """CIE76 difference of two colours as seen with a deficiency."""
    return float(np.linalg.norm(lab(seen(one, kind)) - lab(seen(other, kind))))


def picture(path):
    """Draw lines in the colours of every theme, and the sequential scale, as they are seen."""
    from matplotlib.figure import Figure

    from invariscope.plots.shared.theme import DARK, LIGHT, palette

    figure = Figure((11, 8), layout="constrained")
    axes = figure.subplots(len(MACHADO), 3, squeeze=False, width_ratios=(2, 2, 1))
    x = np.linspace(0, 1, 50)
    for row, kind in zip(axes, MACHADO, strict=True):
        for ax, theme in zip(row, (LIGHT, DARK), strict=False):
            ax.set_facecolor(theme.surface)
            for i, colour in enumerate(theme.series):
                ax.plot(x, np.sin(4 * x + i / 2) + i / 3, color=seen(colour, kind), linewidth=2.5)
            ax.set(xticks=[], yticks=[], title=f"{theme.name}, {kind}")
        row[2].imshow(np.array([seen(colour, kind) for colour in palette()])[:, None], aspect="auto")
        row[2].set(xticks=[], yticks=[], title=kind)
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    picture(sys.argv[1])
