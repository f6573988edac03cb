"""Molecules of the G2 set and crystals of the elements, as ASE ships them."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

from benchmarks.atlas.declared import Samples

RATTLE = 0.05  # Å


def molecules() -> Samples:
    """Return the molecules of the G2 set with two or more atoms, slightly bent."""
    from ase.build import molecule
    from ase.collections import g2

    found = [molecule(name) for name in g2.names if len(molecule(name)) > 1]
    return Samples(
        name="molecules",
        source=f"ASE {version('ase')}, ase.collections.g2",
        licence="LGPL-2.1",
        about=f"molecules of the G2 set with two or more atoms, atoms moved by {RATTLE} Å (rms)",
        values=[bent(atoms, seed) for seed, atoms in enumerate(found)],
        cluster="molecule",
    )


def crystals() -> Samples:
    """Return the crystals of the elements, slightly bent."""
    from ase.data import chemical_symbols

    found = [atoms for name in chemical_symbols[1:] if (atoms := crystal(name)) is not None]
    return Samples(
        name="crystals",
        source=f"ASE {version('ase')}, ase.data.reference_states",
        licence="LGPL-2.1",
        about=f"crystals of the elements, doubled along one axis, atoms moved by {RATTLE} Å (rms)",
        values=[bent(atoms * (2, 1, 1), seed) for seed, atoms in enumerate(found)],
        cluster="element",
    )


def crystal(name: str) -> Any:
    """Return the crystal of an element; None if ASE does not know its positions of atoms."""
    from ase.build import bulk

    try:
        return bulk(name)
    except (ValueError, RuntimeError):
        return None


def bent(atoms: Any, seed: int) -> Any:
    """Return the atoms, moved at random."""
    atoms.rattle(RATTLE, seed=seed)
    return atoms
