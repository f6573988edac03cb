"""Measure whether a 3D network learns to ignore the orientation of its inputs.

    pip install invariscope ase
    python examples/volumes.py

A small 3D network counts the hydrogens in densities of molecules on a grid of 16³. It is trained with and
without random quarter turns, and measured under quarter turns about each axis.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import torch
from ase.build import molecule
from ase.data.g2 import molecule_names
from torch import Tensor, nn

import invariscope as iv

ABOUT = {axis: iv.Slices("quarter_turns", across=axis) for axis in ("depth", "height", "width")}
GRID = np.stack(np.meshgrid(*[np.linspace(-4, 4, 16)] * 3, indexing="ij"), -1)


def density(name: str) -> Tensor:
    """Return the densities of hydrogens and of heavier atoms, with a Gaussian of 0.6 Å per atom."""
    atoms = molecule(name)
    positions = atoms.positions - atoms.positions.mean(0)
    blobs = np.exp(-((GRID[..., None, :] - positions) ** 2).sum(-1) / 0.72)
    return torch.from_numpy(np.stack([blobs @ (atoms.numbers == 1), blobs @ (atoms.numbers > 1)])).float()


def network(turned: bool) -> nn.Module:
    """Return a network trained on the first hundred molecules, with or without random quarter turns."""
    torch.manual_seed(0)
    layers = [nn.Conv3d(2, 8, 3), nn.ReLU(), nn.MaxPool3d(2), nn.Conv3d(8, 16, 3), nn.ReLU(), nn.Flatten()]
    model = nn.Sequential(*layers, nn.Linear(16 * 125, 32), nn.ReLU(), nn.Linear(32, 1))
    optimizer = torch.optim.Adam(model.parameters(), 0.002)
    for _ in range(150):
        x = volumes[rows := torch.randint(100, (32,))]
        for transform in ABOUT.values() if turned else ():
            x = transform.orbit(x)[:, int(torch.randint(4, ()))]
        optimizer.zero_grad()
        (model(x)[:, 0] - hydrogens[rows]).square().mean().backward()
        optimizer.step()
    return model.eval()


volumes = torch.stack(list(map(density, molecule_names)))
hydrogens = torch.tensor([float((molecule(name).numbers == 1).sum()) for name in molecule_names])
layers, options = {"0": "conv 1", "3": "conv 2", "6": "hidden", "8": "output"}, {"progress": False}
found = {}
for kind, model in {"unrotated": network(False), "rotated": network(True)}.items():
    for axis, turns in ABOUT.items():
        rows = iv.measure(model, volumes[100:], turns, layers=list(layers), **options).table
        found[f"{kind} training data, about {axis}"] = rows.set_index("layer")["value"].rename(layers)
table = pd.DataFrame(found).T
print(table.round(3).to_string())
plain, turned = table["output"][:3].mean(), table["output"][3:].mean()
print(f"\nTraining on rotated volumes divides the output's normalized variance by {plain / turned:.0f}.")
