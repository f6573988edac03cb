"""A pretrained equivariant potential, if its package is installed: energy, forces, inner features."""

from __future__ import annotations

import importlib.util
import sys
import warnings
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parents[2] / "examples" / "sevenn_potential.py"


@pytest.fixture(scope="module")
def example():
    """The example's own functions, so that the figures checked are the example's."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pytest.importorskip("sevenn", reason="the pretrained potential is in the package sevenn")
    spec = importlib.util.spec_from_file_location("sevenn_example", EXAMPLE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # its dataclass looks itself up
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


@pytest.mark.filterwarnings("ignore")
def test_energies_stay_forces_turn_and_features_follow_their_irreps(example):
    numbers, positions = example.molecules(3)
    read = example.reader(*example.potential(), numbers)
    shares = {}
    for case in example.cases():
        table = example.deviation(read, positions, case, draws=2)
        _, share = table.columns
        shares |= {(layer, case.says): row[share] for layer, row in table.iterrows()}
    right = {key: share for key, share in shares.items() if "wrong" not in key[1]}
    wrong = {key: share for key, share in shares.items() if "wrong" in key[1]}
    assert len(right) == 6
    assert len(wrong) == 5
    assert max(right.values()) < 1e-4
    assert min(wrong.values()) > 0.3
