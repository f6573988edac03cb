"""NudeNet, a detector of body parts, on small images of faces and of other things."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

import invariscope as iv
from benchmarks.atlas.declared import Case, Entry, Samples, changed

TAKEN = slice(68, 132)  # the last faces and the first others
SIDE, BOX, FACES, THRESHOLD = 320, 4, (1, 12), 0.25  # as in the package


def load() -> Any:
    """Return a function from images to the scores of "no face" and "face".

    A face is found if the best score of any box is above the threshold of the package.
    """
    import onnxruntime
    from nudenet import __file__ as package

    session = onnxruntime.InferenceSession(Path(package).parent / "320n.onnx")

    def faces(images: Tensor) -> dict[str, Tensor]:
        (found,) = session.run(None, {"images": images.numpy()})
        best = torch.from_numpy(found[:, [BOX + face for face in FACES]].max((1, 2)))
        return {"face": torch.stack([torch.full_like(best, THRESHOLD), best], 1)}

    return faces


def samples() -> Samples:
    """Return the images, enlarged to the size that the detector takes."""
    from skimage import data

    small = torch.from_numpy(data.lfw_subset()[TAKEN].astype(np.float32))[:, None]
    large = torch.nn.functional.interpolate(small, (SIDE, SIDE), mode="bicubic").clamp(0, 1)
    return Samples(
        name="faces",
        source=f"scikit-image {version('scikit-image')}, skimage.data.lfw_subset",
        licence="BSD-3-Clause",
        about=f"32 faces of LFW and 32 other crops of 25 × 25 px, in grey, enlarged to {SIDE} px",
        values=large.expand(-1, 3, -1, -1).contiguous(),
        cluster="image",
    )


CHANGES = {
    "mirror image": iv.Flip("horizontal"),
    "70 % and 130 % brightness": iv.Brightness([1, 0.7, 1.3]),
    "JPEG, quality 75 and 30": iv.JPEG([75, 30]),
}

ENTRY = Entry(
    model="NudeNet",
    does="whether a face is found",
    world="Photographs",
    packages=("nudenet==3.4.2", "onnxruntime>=1.20", "scikit-image>=0.25"),
    licence="MIT",
    weights=("nudenet", "320n.onnx"),
    load=load,
    samples=samples,
    cases=tuple(Case(name, change, changed()) for name, change in CHANGES.items()),
    options={"output": "face"},
)
