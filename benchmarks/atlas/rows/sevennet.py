"""SevenNet-0, an equivariant interatomic potential, on molecules."""

from __future__ import annotations

from typing import Any

import torch

import invariscope as iv
from benchmarks.atlas import atoms
from benchmarks.atlas.data import molecules
from benchmarks.atlas.declared import Entry

ENERGY, FORCES = "reduce_total_enegy", "force_output[inferred_force]"  # as the package spells them
CUTOFF = 5.0  # Å, of SevenNet-0


def load() -> Any:
    """Return the network."""
    from sevenn.calculator import SevenNetCalculator

    with torch.random.fork_rng():
        model = SevenNetCalculator("7net-0", device="cpu").model
    model.set_is_batch_data(True)
    return model


def graphs(samples: list[Any]) -> Any:
    """Return the batch of graphs that the network takes."""
    from sevenn.atom_graph_data import AtomGraphData
    from sevenn.train.dataload import unlabeled_atoms_to_graph
    from torch_geometric.data import Batch

    found = (unlabeled_atoms_to_graph(one, CUTOFF) for one in samples)
    return Batch.from_data_list([AtomGraphData.from_numpy_dict(one) for one in found])


ENTRY = Entry(
    model="SevenNet-0",
    does="energies and forces",
    world="Molecules and crystals",
    packages=("ase>=3.26", "e3nn>=0.5.4", "torch_geometric>=2.6", "sevenn==0.13.0"),
    licence="MIT",
    weights=("sevenn", "pretrained_potentials/SevenNet_0__11Jul2024/*.pth"),
    load=load,
    samples=molecules.molecules,
    cases=atoms.cases(ENERGY, FORCES),
    options={"preprocess": graphs, "gradients": True, "pool": {FORCES: iv.Rows(index="batch")}},
    remark="The configuration of this network says `is_parity: False`: it"
    " is equivariant to rotations, but not to reflections.",
)
