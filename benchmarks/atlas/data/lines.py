"""Lines of print, rendered from sayings."""

from __future__ import annotations

import math
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from benchmarks.atlas.data import fortunes
from benchmarks.atlas.declared import Samples

HEIGHT, WIDTH, LETTERS, MARGIN = 48, 320, 22, 8  # pixels, except for letters
FONTS = ("DejaVuSans", "DejaVuSerif", "DejaVuSans-Bold", "DejaVuSerif-Italic")


def lines(count: int) -> Samples:
    """Return the beginnings of sayings as dark print on white, in four fonts in turn."""
    texts = fortunes.sayings(count)
    return Samples(
        name="lines of print",
        source=f"{texts.source}, in fonts of matplotlib {version('matplotlib')}",
        licence="BSD",
        about=f"the first {LETTERS} characters of sayings, as print in four fonts, {HEIGHT} × {WIDTH} px",
        values=torch.stack(
            [printed(beginning(text), FONTS[k % len(FONTS)]) for k, text in enumerate(texts.values)]
        ),
        cluster="line",
    )


def beginning(text: str) -> str:
    """Return the first whole words of a text."""
    return text[: LETTERS + 1].rpartition(" ")[0] or text[:LETTERS]


def printed(text: str, font: str) -> Tensor:
    """Return an image (3, height, width), with values from 0 to 1."""
    import matplotlib
    from PIL import Image, ImageDraw, ImageFont

    path = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / f"{font}.ttf"
    face = ImageFont.truetype(str(path), HEIGHT // 2)
    room = WIDTH - 2 * MARGIN
    if face.getlength(text) > room:
        face = ImageFont.truetype(str(path), math.floor(HEIGHT / 2 * room / face.getlength(text)))
    image = Image.new("L", (WIDTH, HEIGHT), 255)
    ImageDraw.Draw(image).text((MARGIN, HEIGHT // 2), text, fill=20, font=face, anchor="lm")
    return torch.from_numpy(np.array(image)).float().expand(3, -1, -1).contiguous() / 255
