"""AGENTS.md finds the layer in which a fault was planted, in ten networks, by its own code."""

from __future__ import annotations

import re
from functools import cache
from typing import Any

import pytest
import torch
from planted_faults import CASES, IMAGES, TURNS, made
from torch import nn

import invariscope as iv
from project.marked_pages import ROOT, files_of

pytestmark = pytest.mark.filterwarnings("ignore")  # those of e2cnn and e3nn

# How many of the ten networks the page must be right about, and those about which it is wrong.
AT_LEAST, MISSED = 9, ()


@cache
def page() -> dict[str, Any]:
    """The code of the page."""
    namespace: dict[str, Any] = {}
    exec(files_of(ROOT / "AGENTS.md")["find_broken_layer.py"], namespace)
    return namespace


def suspect(name: str, *, faulty: bool) -> str:
    """The layer that the page's steps 2 and 3 name first; "" if all hold."""
    case = CASES[name]
    found = page()["find_broken_layer"](made(case, faulty=faulty), case.inputs, case.transform)
    return "" if found is None else found.layer


def test_the_page_finds_the_planted_layer_in_at_least_nine_of_ten_networks():
    found = {name: suspect(name, faulty=True) for name in CASES}
    right = {name for name, layer in found.items() if inside(layer, CASES[name].planted)}
    assert len(CASES) == 10
    assert len(right) >= AT_LEAST
    assert set(CASES) - right == set(MISSED)


@pytest.mark.parametrize("name", CASES)
def test_the_same_networks_without_a_fault_are_cleared(name):
    assert suspect(name, faulty=False) == CASES[name].sound


def inside(layer: str, planted: str) -> bool:
    """Whether the layer is the planted one, or a part of it."""
    return layer == planted or layer.startswith(f"{planted}.")


class Sliced(nn.Module):
    """The maps lose a column between two layers, and gain one behind it."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(1, 4, 1), nn.Conv2d(4, 4, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.first(x)
        x[..., 0] = 0  # no layer
        return self.second(x)


@pytest.mark.usefixtures("seeded")
def test_a_fault_that_is_no_layer_is_reported_at_the_layer_behind_it():
    found = page()["find_broken_layer"](Sliced(), IMAGES, TURNS)
    assert found.layer == "second"


@pytest.mark.usefixtures("seeded")
def test_a_layer_that_follows_an_action_other_than_the_intended_one_passes_until_actions_are_named():
    from planted_faults import Turned

    model = nn.Sequential(Turned(1, 4), nn.ReLU())  # equivariant, but not to the regular representation
    assert page()["find_broken_layer"](model, IMAGES, TURNS) is None
    verdict = iv.assert_equivariant(model, IMAGES, TURNS)
    assert [layer.action for layer in verdict.layers] == ["spatial", "spatial"]  # step 6
    with pytest.raises(iv.SymmetryError, match=r"layer .0. .Turned. is the first"):
        iv.assert_equivariant(model, IMAGES, TURNS, feature_action="regular")


def test_the_page_fits_on_one_page_and_names_what_exists():
    text = (ROOT / "AGENTS.md").read_text()
    assert len(text.splitlines()) <= 120
    for name in set(re.findall(r"iv\.([A-Za-z_]+)", text)):
        assert hasattr(iv, name), name
    for path in re.findall(r"`(tests/\S+\.py)`", text):
        assert (ROOT / path).exists()
