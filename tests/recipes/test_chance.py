"""Numbers against those of permuted labels."""

from __future__ import annotations

import pytest

from invariscope.lab.recipes.kinds import CellContext
from invariscope.lab.recipes.kinds.weights import Weights
from invariscope.lab.recipes.quantities import NoValueError, worked_out
from invariscope.lab.recipes.verdicts import decided
from invariscope.results import storage


class Shelf:
    """One result, whatever it is asked for."""

    def __init__(self, result) -> None:
        self._result = result

    def result(self, name):
        return self._result


def coupling(folder, network):
    cell = Weights(analysis="rotation_coupling", network=network, settings={"permutations": 199})
    cell.run(CellContext(folder, folder))
    return Shelf(storage.load(folder / "result"))


def test_a_planted_coupling_is_beyond_chance_and_random_weights_are_not(tmp_path):
    spec = {"quantity": "beyond_chance", "cell": "x", "measure": "rotation_coupling.z"}
    planted, random = (coupling(tmp_path / name, name) for name in ("orbit_pooling", "simple_conv"))
    found = worked_out(planted, spec)
    assert decided(found, "> 0") == "confirmed"
    assert found.interval.high - found.interval.low == pytest.approx(2 * 1.959964, abs=1e-5)
    assert found.over == "permutations"
    assert decided(worked_out(random, spec), "> 0") == "undecided"
    with pytest.raises(NoValueError, match=r"no finite rotation_coupling\.z of conv9"):
        worked_out(planted, {**spec, "layer": "conv9"})
