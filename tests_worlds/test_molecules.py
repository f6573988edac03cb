"""A pretrained potential, SevenNet-0, on molecules of several sizes and on crystals: known answers."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import invariscope as iv

pytest.importorskip("sevenn")
pytestmark = pytest.mark.filterwarnings("ignore")

ENERGY, FORCES = "reduce_total_enegy", "force_output[inferred_force]"  # as the library spells them
LAYERS = [*(f"{block}_equivariant_gate" for block in range(5)), ENERGY, FORCES]
APART = {"*gate": iv.Rows(index="batch"), FORCES: iv.Rows(index="batch")}
TURNS = iv.RandomOrthogonal(4)


def molecules() -> list[Any]:
    """Three to twelve atoms, slightly bent."""
    from ase.build import molecule

    return [bent(molecule(name), seed) for seed, name in enumerate(("H2O", "NH3", "CH4", "CH3CH2OH", "C6H6"))]


def crystals() -> list[Any]:
    """Two to eight atoms in a periodic cell, slightly bent."""
    from ase.build import bulk

    cells = (
        bulk("NaCl", "rocksalt", 5.64),
        bulk("Si") * (2, 1, 1),
        bulk("Cu", cubic=True),
        bulk("Si") * (2, 2, 1),
    )
    return [bent(cell, seed) for seed, cell in enumerate(cells)]


def bent(atoms: Any, seed: int) -> Any:
    atoms.rattle(0.05, seed=seed)
    return atoms


@pytest.fixture(scope="module")
def calculator() -> Any:
    from sevenn.calculator import SevenNetCalculator

    with torch.random.fork_rng():
        torch.manual_seed(0)
        found = SevenNetCalculator("7net-0", device="cpu")
    found.model.set_is_batch_data(True)
    return found


def deviations(calculator: Any, atoms: list[Any], transform: Any, actions: Any) -> dict[str, float]:
    """How far each layer is from its action: eV, eV/Å, or the units of its features."""
    from sevenn.atom_graph_data import AtomGraphData
    from sevenn.train.dataload import unlabeled_atoms_to_graph
    from torch_geometric.data import Batch

    def to_graphs(atoms: list[Any]) -> Any:
        found = (unlabeled_atoms_to_graph(one, calculator.cutoff) for one in atoms)
        return Batch.from_data_list(list(map(AtomGraphData.from_numpy_dict, found)))

    measure = iv.EquivarianceDeviation(feature_action=actions, distance="l2")
    result = iv.measure(
        calculator.model,
        atoms,
        transform,
        measures=[measure],
        layers=LAYERS,
        preprocess=to_graphs,
        pool=APART,
        gradients=True,
        progress=False,
    )
    return result.table.query("measure == @measure.label").set_index("layer")["value"].to_dict()


def turned(irreps: Any = None) -> dict[str, Any]:
    """What rotations of space do to each layer."""
    from e3nn import o3

    irreps = o3.Irreps("128x0e + 64x1e + 32x2e") if irreps is None else irreps
    return {"[0-3]_*": irreps, "4_*": "trivial", ENERGY: "trivial", FORCES: "vector"}


@pytest.fixture(scope="module")
def right(calculator) -> dict[str, float]:
    whole = iv.On(TURNS, positions="vector", cell="vector")
    return deviations(calculator, molecules() + crystals(), whole, turned())


def test_energies_stay_under_rotations(right):
    assert right[ENERGY] < 1e-6


def test_forces_turn_as_vectors(right):
    assert right[FORCES] < 1e-4


def test_features_turn_by_their_irreps(right):
    gates = [value for layer, value in right.items() if layer.endswith("gate")]
    assert len(gates) == 5
    assert max(gates) < 1e-4


def test_a_cell_left_where_it_is_changes_the_energy(calculator):
    only_atoms = iv.On(TURNS, positions="vector")
    assert deviations(calculator, crystals(), only_atoms, turned())[ENERGY] > 1


def test_irreps_in_another_order_are_wrong(calculator, right):
    from e3nn import o3

    reversed_ = turned(o3.Irreps("32x2e + 64x1e + 128x0e"))
    whole = iv.On(TURNS, positions="vector", cell="vector")
    found = deviations(calculator, molecules() + crystals(), whole, reversed_)
    assert min(found[f"{block}_equivariant_gate"] for block in range(4)) > 1


def test_everything_follows_the_order_of_the_atoms(calculator):
    orders = iv.On(iv.RandomPermutations(4), positions="row", numbers="row")
    actions = {"*gate": "row", FORCES: "row", ENERGY: "trivial"}
    found = deviations(calculator, molecules(), orders, actions)
    assert found[ENERGY] < 1e-5
    assert max(found.values()) < 1e-4
