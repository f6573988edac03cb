"""The symmetries of atoms, which the entries on molecules and crystals share."""

from __future__ import annotations

import numpy as np

import invariscope as iv
from benchmarks.atlas.declared import Case, error

FIELDS = {"positions": "vector", "cell": "vector"}
TURNS = iv.On(iv.RandomOrthogonal(2), **FIELDS)
MIRRORED = iv.On(iv.Orthogonal([np.eye(3), np.diag([-1.0, 1, 1]), -np.eye(3)]), **FIELDS)
ORDERS = iv.On(iv.RandomPermutations(2), positions="row", numbers="row")


def cases(energy: str, forces: str) -> tuple[Case, ...]:
    """Return the rows of a potential whose layers have these names."""
    return (
        Case("rotations: energy", TURNS, error(energy)),
        Case("rotations: forces", TURNS, error(forces, "vector")),
        Case("reflection, inversion: forces", MIRRORED, error(forces, "vector")),
        Case("order of atoms: energy", ORDERS, error(energy)),
        Case("order of atoms: forces", ORDERS, error(forces, "row")),
    )
