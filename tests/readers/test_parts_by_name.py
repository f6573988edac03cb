"""The first part of a named output is selected by its own name, too."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import invariscope as iv


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.body = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        found = self.body(x)
        return {"energy": found.sum(1, keepdim=True), "forces": 2 * found}


def layers_of(model: nn.Module, layers: object, **options) -> list[str]:
    x = torch.rand(20, 4, generator=torch.Generator().manual_seed(0))
    result = iv.measure(model, x, [torch.clone, torch.neg], layers=layers, progress=False, **options)
    return result.table["layer"].tolist()


@pytest.mark.parametrize("pattern", ["*energy*", "Net[energy]", "Net"])
def test_the_first_part_has_the_name_of_the_model_and_is_found_by_its_own(pattern):
    assert layers_of(Net(), pattern) == ["Net"]
    assert layers_of(Net(), "*forces*") == ["Net[forces]"]


def test_an_exclusion_by_that_name_holds():
    assert layers_of(Net(), ["Net*", "!*energy*"]) == ["Net[forces]"]


class Tupled(Net):
    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        found = self.body(x)
        return found.tanh(), found.exp()


def test_numbers_of_parts_are_no_names():
    with pytest.raises(ValueError, match=r"no layer matches '\*0\*'"):
        layers_of(Tupled(), "*0*")


def test_pools_do_not_know_that_name():
    with pytest.raises(ValueError, match=r"pool: no layer matches '\*energy\*'"):
        layers_of(Net(), None, pool={"*energy*": iv.Pool("mean", index="batch")})


@pytest.mark.parametrize("output", [["energy", "forces"], (0, 1)])
def test_several_predictions_are_refused_with_what_to_do(output):
    with pytest.raises(TypeError, match=r"one prediction; read further parts as layers"):
        layers_of(Net(), None, output=output)
