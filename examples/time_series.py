"""Measure which changes a classifier of time series ignores: shifts, offsets, scale, speed or direction.

    pip install invariscope tslearn
    python examples/time_series.py

A small convolutional network is trained in seconds on the four classes of Trace (signals of an instrument).
Its layers are measured on 100 test signals that are shifted, raised, scaled, slowed down or reversed.
"""

from __future__ import annotations

import pandas as pd
import torch
from torch import nn
from torch.nn.functional import cross_entropy, interpolate
from tslearn.datasets import CachedDatasets

import invariscope as iv

CHANGES = {
    "as it is": torch.clone,
    "20 steps later, wrapped": lambda x: torch.roll(x, 20, -1),
    "20 steps later, held": lambda x: torch.cat([x[..., :1].expand(-1, -1, 20), x[..., :-20]], -1),
    "a tenth higher": lambda x: x + 0.1,
    "twice as high": lambda x: 2 * x,
    "a tenth slower": lambda x: interpolate(x[..., :250], size=275, mode="linear"),
    "reversed": lambda x: x.flip(-1),
}

train_x, train_y, test_x, test_y = CachedDatasets().load_dataset("Trace")
train_x, test_x = (torch.from_numpy(x).float().movedim(-1, 1) for x in (train_x, test_x))
train_y, test_y = (torch.from_numpy(y).long() - 1 for y in (train_y, test_y))

torch.manual_seed(0)
layers = [nn.Conv1d(1, 16, 9, padding=4), nn.ReLU(), nn.Conv1d(16, 32, 9, padding=4, stride=2), nn.ReLU()]
model = nn.Sequential(*layers, nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(32, 4))
optimizer = torch.optim.Adam(model.parameters(), 0.01)
for _ in range(200):
    optimizer.zero_grad()
    cross_entropy(model(train_x), train_y).backward()
    optimizer.step()
model.eval()


def measured(change) -> dict[str, float]:
    """Return the accuracy, and the effect of a change on each layer relative to that of another signal."""
    result = iv.measure(model, test_x, [lambda x: x, change], layers=list(NAMES), progress=False)
    right = (model(change(test_x)).argmax(1) == test_y).float().mean()
    return dict(zip(NAMES.values(), result.table["value"], strict=True)) | {"accuracy": float(right)}


NAMES = {"0": "conv 1", "2": "conv 2", "4": "mean over time", "6": "output"}
table = pd.DataFrame({name: measured(change) for name, change in CHANGES.items()}).T
print(table.round(3).to_string())
held, wrapped = table.loc["20 steps later, held"], table.loc["20 steps later, wrapped"]
print(
    f"\nThe mean over time removes a shift (output {held['output']:.2f}, accuracy {held['accuracy']:.2f}). A "
    "shift that wraps around creates a jump where the ends meet "
    f"(output {wrapped['output']:.2f}, accuracy {wrapped['accuracy']:.2f})."
)
