"""Measure whether the outputs and layers of a pretrained potential are equivariant to rotations.

    pip install invariscope sevenn
    python examples/molecules.py

Energies should not change, forces rotate, and features follow their irreps; two cases are deliberately wrong.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from ase.build import bulk, molecule
from e3nn import o3
from sevenn.atom_graph_data import AtomGraphData
from sevenn.calculator import SevenNetCalculator
from sevenn.train.dataload import unlabeled_atoms_to_graph
from torch_geometric.data import Batch

import invariscope as iv

calculator = SevenNetCalculator("7net-0", device="cpu")
calculator.model.set_is_batch_data(True)
ENERGY, FORCES = "reduce_total_enegy", "force_output[inferred_force]"  # as the library spells them
FEATURES = o3.Irreps("128x0e + 64x1e + 32x2e")
TURNED = {ENERGY: "trivial", FORCES: "vector", "[0-3]_*": FEATURES, "4_*": "trivial"}
TURNS, ORDERS = iv.RandomOrthogonal(4), iv.RandomPermutations(4)
WHOLE = iv.On(TURNS, positions="vector", cell="vector")
FAR = iv.Elements([np.array, lambda positions: (positions + 1000).astype(np.float32)])
CASES = {
    "turned": (WHOLE, TURNED),
    "turned, not the cell": (iv.On(TURNS, positions="vector"), TURNED),
    "irreps reversed": (WHOLE, TURNED | {"[0-3]_*": FEATURES[::-1]}),
    "reordered": (iv.On(ORDERS, positions="row", numbers="row"), {ENERGY: "trivial", "*": "row"}),
    "1000 Å away in float32": (iv.On(FAR, "positions"), {"*": "trivial"}),
}


def to_graphs(atoms) -> Batch:
    """Return a batch of graphs that connect each atom to its neighbours."""
    graphs = (unlabeled_atoms_to_graph(one, calculator.cutoff) for one in atoms)
    return Batch.from_data_list(list(map(AtomGraphData.from_numpy_dict, graphs)))


def measured(transform, actions) -> pd.Series:
    """Return how far each layer deviates from its action, in the layer's units: eV, eV/Å, features."""
    measure = iv.EquivarianceDeviation(feature_action=actions, distance="l2")
    pool = {"*_gate": iv.Rows(index="batch"), FORCES: iv.Rows(index="batch")}
    options = {"preprocess": to_graphs, "layers": [*pool, ENERGY], "gradients": True, "progress": False}
    result = iv.measure(calculator.model, structures, transform, measures=[measure], pool=pool, **options)
    return result.table.query("measure == @measure.label").set_index("layer")["value"]


structures = [molecule(name) for name in ("H2O", "NH3", "CH3CH2OH", "C6H6")]
structures += [bulk("NaCl", "rocksalt", 5.64), bulk("Si") * (2, 1, 1), bulk("Cu", cubic=True)]
_ = [one.rattle(0.05, seed=seed) for seed, one in enumerate(structures)]
table = pd.DataFrame({name: measured(*case) for name, case in CASES.items()}).T
names = {FORCES: "forces", ENERGY: "energy"} | {f"{k}_equivariant_gate": f"block {k}" for k in range(5)}
print(table.rename(columns=names).map("{:.0e}".format).to_string())
print("\nErrors under rotation and reordering are rounding; far from the origin, float32 loses more digits.")
