"""CHGNet, a potential of crystals, on crystals of the elements."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

import invariscope as iv
from benchmarks.atlas import atoms
from benchmarks.atlas.data import molecules
from benchmarks.atlas.declared import Entry

ENERGY, FORCES = "energy", "forces"


class Potential(nn.Module):
    """The network with two layers more, at which energies per atom and forces can be read."""

    def __init__(self) -> None:
        from chgnet.model import CHGNet

        super().__init__()
        self.network = CHGNet.load(use_device="cpu", verbose=False)
        self.energy, self.forces = nn.Identity(), nn.Identity()

    def forward(self, graphs: list[Any], batch: Tensor) -> dict[str, Tensor]:
        """Return energies (crystal, 1), and the forces on all atoms."""
        found = self.network(graphs, task="ef")
        return {ENERGY: self.energy(found["e"][:, None]), FORCES: self.forces(torch.cat(found["f"]))}


def graphs_of(samples: list[Any]) -> dict[str, Any]:
    """Return the graphs that the network takes, and the crystal of each atom."""
    from chgnet.graph import CrystalGraphConverter
    from pymatgen.io.ase import AseAtomsAdaptor

    convert = CrystalGraphConverter(atom_graph_cutoff=6, bond_graph_cutoff=3)  # Å, as in the network
    counts = torch.tensor([len(one) for one in samples])
    return {
        "graphs": [convert(AseAtomsAdaptor.get_structure(one)) for one in samples],
        "batch": torch.repeat_interleave(torch.arange(len(samples)), counts),
    }


ENTRY = Entry(
    model="CHGNet",
    does="energies and forces",
    world="Molecules and crystals",
    packages=("ase>=3.26", "chgnet==0.4.2"),
    licence="BSD-3-Clause",
    weights=("chgnet", "pretrained/0.3.0/*.tar"),
    load=lambda: Potential().eval(),
    samples=molecules.crystals,
    cases=atoms.cases(ENERGY, FORCES),
    options={
        "preprocess": graphs_of,
        "gradients": True,
        "pool": {FORCES: iv.Rows(index="batch")},
    },
)
