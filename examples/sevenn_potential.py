"""Is a pretrained potential equivariant to rotations, in its outputs and in its hidden layers?

    pip install invariscope sevenn
    python examples/sevenn_potential.py [--samples 8] [--draws 4]

SevenNet-0 is a neural network for the energy of atoms in any arrangement, with weights in its package.
Rotating a molecule should not change its energy, should rotate the forces on its atoms with it, and should
transform the hidden features of each atom by their irreps. All three are measured on distorted copies of an
ethanol molecule under uniformly drawn rotations, and compared with a wrong action.
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

import invariscope as iv

BENT = 0.1  # Å, of each coordinate
BLOCKS = 4


@dataclass(frozen=True)
class Case:
    """Layers, and what rotations should do to them."""

    layers: str
    says: str
    action: Any


def potential() -> tuple[Any, float]:
    """Return SevenNet-0 and its cutoff radius."""
    from sevenn.calculator import SevenNetCalculator

    calculator = SevenNetCalculator("7net-0", device="cpu")
    return calculator.model, calculator.cutoff


def molecules(samples: int, *, seed: int = 0) -> tuple[np.ndarray, Tensor]:
    """Return the atomic numbers of ethanol, and (sample, atom, 3) positions about its centre."""
    from ase.build import molecule

    atoms = molecule("CH3CH2OH")
    noise = np.random.default_rng(seed).normal(scale=BENT, size=(samples, len(atoms), 3))
    positions = atoms.positions - atoms.positions.mean(axis=0) + noise
    return atoms.numbers, torch.from_numpy(positions)


def reader(model: Any, cutoff: float, numbers: np.ndarray) -> Callable[[Tensor], dict[str, Tensor]]:
    """Return a function from (sample, atom, 3) positions to energies, forces and the features of blocks."""

    def read(positions: Tensor) -> dict[str, Tensor]:
        each = [_one(model, cutoff, numbers, one) for one in positions]
        return {name: torch.stack([found[name] for found in each]) for name in each[0]}

    return read


def _one(model: Any, cutoff: float, numbers: np.ndarray, positions: Tensor) -> dict[str, Tensor]:
    """Return the outputs of the model for one molecule."""
    held: dict[str, Tensor] = {}

    def keep(name: str) -> Callable[..., None]:
        return lambda module, args, data: held.update({name: data["x"].detach().clone()})

    gates = [getattr(model, f"{block}_equivariant_gate") for block in range(BLOCKS)]
    handles = [gate.register_forward_hook(keep(f"block{number}")) for number, gate in enumerate(gates)]
    try:
        with torch.enable_grad():  # forces are derivatives of the energy
            found = model(_graph(cutoff, numbers, positions))
    finally:
        for handle in handles:
            handle.remove()
    energy, forces = (found[f"inferred_{name}"].detach() for name in ("total_energy", "force"))
    return held | {"energy": energy.reshape(1), "forces": forces[: len(numbers)]}


def _graph(cutoff: float, numbers: np.ndarray, positions: Tensor) -> Any:
    """Return the graph of neighbouring atoms."""
    from ase import Atoms
    from sevenn.atom_graph_data import AtomGraphData
    from sevenn.train.dataload import unlabeled_atoms_to_graph

    atoms = Atoms(numbers, positions=positions.numpy())
    return AtomGraphData.from_numpy_dict(unlabeled_atoms_to_graph(atoms, cutoff, with_shift=False))


def deviation(read: Callable[[Tensor], dict[str, Tensor]], positions: Tensor, case: Case, draws: int) -> Any:
    """Return how far the case's layers are from equivariance under its action, one row per layer."""
    measure = iv.EquivarianceDeviation(feature_action=case.action, distance="l2")
    result = iv.measure(
        read,
        positions,
        iv.RandomOrthogonal(draws),
        measures=[measure],
        layers=case.layers,
        progress=False,
    )
    table = result.table.pivot(index="layer", columns="measure", values="value")
    return table[[measure.label, f"{measure.label}.to_null"]]


def cases() -> tuple[Case, ...]:
    """Return the right action of each layer, and a wrong one."""
    from e3nn import o3

    features = o3.Irreps("128x0e + 64x1e + 32x2e")
    return (
        Case("energy", "stays", "trivial"),
        Case("forces", "turn as vectors", iv.MatrixAction("vector")),
        Case("forces", "stay (wrong)", "trivial"),
        Case("block*", "turn by their irreps", iv.MatrixAction(features)),
        Case("block*", "irreps in another order (wrong)", iv.MatrixAction(features[::-1])),
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--samples", type=int, default=8)
    parser.add_argument("--draws", type=int, default=4)
    options = parser.parse_args()
    warnings.simplefilter("ignore")  # what the libraries warn of is no concern here
    numbers, positions = molecules(options.samples)
    read = reader(*potential(), numbers)
    print(f"{options.samples} molecules, {options.draws} rotations each")
    print(f"{'layer':9}{'under rotations they':34}{'off by':>10}  share of another molecule's")
    for case in cases():
        for layer, (off, share) in deviation(read, positions, case, options.draws).iterrows():
            print(f"{layer:9}{case.says:34}{off:10.2g}  {share:.2g}")


if __name__ == "__main__":
    main()
