"""The recogniser of RapidOCR (PP-OCRv6 small) on lines of print."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

import invariscope as iv
from benchmarks.atlas.data import lines
from benchmarks.atlas.declared import Case, Entry, changed

TEXTS, BLANK = 4096, 0  # most different texts that are told apart; the class between letters


class Reader:
    """A function from images to the number of the text that is read, as scores of classes.

    Two images have the same class if the same letters are read from both.
    """

    def __init__(self, path: Path) -> None:
        import onnxruntime

        self.session = onnxruntime.InferenceSession(path)
        self.numbers: dict[tuple[int, ...], int] = {}

    def __call__(self, images: Tensor) -> dict[str, Tensor]:
        """Return one-hot scores (image, text)."""
        found = torch.zeros(len(images), TEXTS)
        for row, letters in zip(found, self.read(images), strict=True):
            row[self.numbers.setdefault(letters, len(self.numbers))] = 1
        return {"text": found}

    def read(self, images: Tensor) -> list[tuple[int, ...]]:
        """Return the letters: the best class of each column, without repetitions and blanks."""
        (scores,) = self.session.run(None, {"x": (2 * images - 1).numpy()})
        best = scores.argmax(-1)
        kept = (best != BLANK) & (best != np.pad(best, ((0, 0), (1, 0)), constant_values=BLANK)[:, :-1])
        return [tuple(row[mask].tolist()) for row, mask in zip(best, kept, strict=True)]


def load() -> Any:
    """Return the reader."""
    from rapidocr import __file__ as package

    return Reader(Path(package).parent / "models" / "PP-OCRv6_rec_small.onnx")


CHANGES = {
    "shifts by 1 and 3 px": iv.Translation([(0, 0), (1, 0), (0, 3)], padding="border"),
    "rotations by ±2°": iv.Rotation([0, 2, -2], padding="border"),
    "90 % and 110 % size": iv.Scale([1, 0.9, 1.1], padding="border"),
    "blur of 1 px": iv.Blur([0, 1]),
    "JPEG, quality 50 and 20": iv.JPEG([50, 20]),
    "light on dark": iv.Elements([torch.clone, lambda x: 1 - x], labels=["as it is", "negative"], identity=0),
}

ENTRY = Entry(
    model="RapidOCR",
    does="text of a line",
    world="Print",
    packages=("rapidocr==3.10.0", "onnxruntime>=1.20", "matplotlib", "pillow"),
    licence="Apache-2.0",
    weights=("rapidocr", "models/PP-OCRv6_rec_small.onnx"),
    load=load,
    samples=lambda: lines.lines(72),
    cases=tuple(Case(name, change, changed()) for name, change in CHANGES.items()),
    options={"output": "text"},
)
