"""Magika, a classifier of files, on the text files of installed packages."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.atlas.data import files
from benchmarks.atlas.declared import Case, Entry, changed, compared

SIZE, BLOCK, PADDING = 1024, 4096, 256  # of the model's configuration
SENTENCE = "This file may be copied, changed and passed on.\n\n"


def load() -> Any:
    """Return a function from files to the scores of all types."""
    import magika
    import onnxruntime

    (path,) = (Path(magika.__file__).parent / "models").glob("*/model.onnx")
    session = onnxruntime.InferenceSession(path)

    def scores(contents: list[str]) -> dict[str, Tensor]:
        ends = np.array([ends_of(content) for content in contents], np.int32)
        return {"type": torch.from_numpy(session.run(None, {"bytes": ends})[0])}

    return scores


def ends_of(content: str) -> list[int]:
    """Return what the package computes of a file: its first and last bytes, without white space."""
    from magika.magika import Magika
    from magika.types import Seekable

    options = (SIZE, 0, SIZE, PADDING, BLOCK, False)
    found = Magika._extract_features_from_seekable(Seekable(BytesIO(content.encode())), *options)
    return [*found.beg, *found.end]


CHANGES = {
    "blank lines at both ends": lambda file: "\n\n" + file + "\n\n",
    "line ends of Windows": lambda file: file.replace("\r\n", "\n").replace("\n", "\r\n"),
    "spaces doubled": lambda file: file.replace(" ", "  "),
    "a sentence at the top": lambda file: SENTENCE + file,
    "second half missing": lambda file: file[: len(file) // 2],
    "capital letters": str.upper,
}

ENTRY = Entry(
    model="Magika",
    does="214 types of files",
    world="Files",
    packages=("magika==1.0.3", "onnxruntime>=1.20", "bokeh", "scikit-learn", "matplotlib", "scikit-image"),
    licence="Apache-2.0",
    weights=("magika", "models/*/model.onnx"),
    load=load,
    samples=lambda: files.files(12),
    cases=tuple(Case(name, compared(name, change), changed()) for name, change in CHANGES.items()),
    options={"preprocess": list, "call": lambda model, contents: model(contents), "output": "type"},
)
