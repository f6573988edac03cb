"""CHGNet, a potential of crystals, on crystals of the elements."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

import invariscope as iv
from benchmarks.atlas import atoms
from benchmarks.atlas.data import molecules
from benchmarks.atlas.declared import Entry

ENERGY, FORCES = "energy", "forces"


def load() -> Any:
    """Return a function from graphs of crystals to energies per atom and forces."""
    from chgnet.model import CHGNet

    model = CHGNet.load(use_device="cpu", verbose=False).eval()

    def potential(graphs: list[Any]) -> dict[str, Tensor]:
        with torch.enable_grad():
            found = model(graphs, task="ef")
        return {ENERGY: found["e"].detach()[:, None], FORCES: torch.cat(found["f"]).detach()}

    return potential


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
    load=load,
    samples=molecules.crystals,
    cases=atoms.cases(ENERGY, FORCES),
    options={
        "preprocess": graphs_of,
        "call": lambda potential, batch: potential(batch["graphs"]),
        "pool": {FORCES: iv.Rows(index="batch")},
    },
)
