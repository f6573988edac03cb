from dataclasses import dataclass

import numpy as np
import pytest
import torch

from invariscope.common.checks import integer, set_integers


@dataclass(frozen=True)
class Draws:
    draws: object = 4
    seed: object = 0

    def __post_init__(self) -> None:
        set_integers(self, draws=1, seed=0)


@pytest.mark.parametrize("value", [np.int64(3), torch.tensor(3), 3])
def test_integers_of_other_libraries_become_pythons_own(value):
    assert type(integer("draws", value)) is int
    assert repr(Draws(value)) == "Draws(draws=3, seed=0)"


@pytest.mark.parametrize(
    "value", [0, True, np.True_, 2.0, "3", None, np.ones(2, int), torch.ones(2).long(), torch.tensor(2.5)]
)
def test_all_else_is_refused(value):
    with pytest.raises(ValueError, match="draws must be an integer, at least 1; got "):
        integer("draws", value)
    with pytest.raises(ValueError, match="draws must be an integer, at least 1; got "):
        Draws(value)
