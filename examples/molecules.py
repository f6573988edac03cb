"""Is a pretrained potential equivariant to rotations, on molecules and crystals, outside and inside?

    pip install invariscope sevenn
    python examples/molecules.py

SevenNet-0, whose weights are in its package. Energies should stay, forces turn as vectors, and features turn by
their irreps; a cell that stays where it is, and irreps in another order, show what failing looks like.
"""

from __future__ import annotations

import warnings

import pandas as pd
from ase.build import bulk, molecule
from e3nn import o3
from sevenn.atom_graph_data import AtomGraphData
from sevenn.calculator import SevenNetCalculator
from sevenn.train.dataload import unlabeled_atoms_to_graph
from torch_geometric.data import Batch

import invariscope as iv

warnings.simplefilter("ignore")  # of the libraries
calculator = SevenNetCalculator("7net-0", device="cpu")
calculator.model.set_is_batch_data(True)
ENERGY, FORCES = "reduce_total_enegy", "force_output[inferred_force]"  # as the library spells them
FEATURES = o3.Irreps("128x0e + 64x1e + 32x2e")
WHOLE = iv.On(iv.RandomOrthogonal(4), positions="vector", cell="vector")
RIGHT = {ENERGY: "trivial", FORCES: "vector", "[0-3]_*": FEATURES, "4_*": "trivial"}


def to_graphs(atoms):
    graphs = (unlabeled_atoms_to_graph(one, calculator.cutoff) for one in atoms)
    return Batch.from_data_list(list(map(AtomGraphData.from_numpy_dict, graphs)))


def measured(transform, actions) -> pd.Series:
    """How far each layer is from its action, in its own units: eV, eV/Å, features."""
    result = iv.measure(
        *(calculator.model, structures, transform),
        measures=[iv.EquivarianceDeviation(feature_action=actions, distance="l2")],
        layers=["*_gate", ENERGY, FORCES],
        pool={"*_gate": iv.Rows(index="batch"), FORCES: iv.Rows(index="batch")},
        **{"preprocess": to_graphs, "gradients": True, "progress": False},
    )
    return result.table.drop_duplicates("layer").set_index("layer")["value"]


structures = [molecule(name) for name in ("H2O", "NH3", "CH3CH2OH", "C6H6")]
structures += [bulk("NaCl", "rocksalt", 5.64), bulk("Si") * (2, 1, 1), bulk("Cu", cubic=True)]
for seed, one in enumerate(structures):
    one.rattle(0.05, seed=seed)

columns = {
    "as it should be": measured(WHOLE, RIGHT),
    "cell not turned": measured(iv.On(iv.RandomOrthogonal(4), positions="vector"), RIGHT),
    "irreps reversed": measured(WHOLE, RIGHT | {"[0-3]_*": FEATURES[::-1]}),
    "atoms reordered": measured(
        iv.On(iv.RandomPermutations(4), positions="row", numbers="row"),
        {ENERGY: "trivial", "*": "row"},
    ),
    "1000 Å away": measured(iv.On(iv.Elements([lambda p: p, lambda p: p + 1e3]), "positions"), {"*": "trivial"}),
}
table = pd.DataFrame(columns)
print(table.map("{:.1e}".format).to_string())
print(
    f"\nEnergies are invariant to {table.loc[ENERGY, 'as it should be']:.0e} eV and forces equivariant to "
    f"{table.loc[FORCES, 'as it should be']:.0e} eV/Å, the rounding of float32; 1000 Å of offset cost nothing "
    "either, because neighbours are subtracted in double precision before the network."
)
