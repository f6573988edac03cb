"""Numbers against those of permuted labels."""

from __future__ import annotations

import pytest
from shelf import Shelf

from invariscope.lab.recipes.comparison import Comparison
from invariscope.lab.recipes.kinds import CellContext
from invariscope.lab.recipes.kinds.weights import Weights
from invariscope.lab.recipes.quantities import NoValueError, evaluate
from invariscope.results import storage


def coupling(folder, network):
    cell = Weights(analysis="rotation_coupling", network=network, settings={"permutations": 199})
    cell.run(CellContext(folder, folder))
    return Shelf(x=storage.load(folder / "result"))


def test_a_planted_coupling_is_beyond_chance_and_random_weights_are_not(tmp_path):
    spec = {"quantity": "beyond_chance", "cell": "x", "measure": "rotation_coupling.z"}
    planted, random = (coupling(tmp_path / name, name) for name in ("orbit_pooling", "simple_conv"))
    found = evaluate(planted, spec)
    assert Comparison.read("> 0").decided(found.interval) == "confirmed"
    assert found.interval.high - found.interval.low == pytest.approx(2 * 1.959964, abs=1e-5)
    assert found.over == "permutations"
    assert Comparison.read("> 0").decided(evaluate(random, spec).interval) == "undecided"
    with pytest.raises(NoValueError, match=r"no finite rotation_coupling\.z of conv9"):
        evaluate(planted, {**spec, "layer": "conv9"})
