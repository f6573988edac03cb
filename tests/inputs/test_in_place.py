"""A preprocess that works in place changes neither other elements nor the data."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

import invariscope as iv

MEASURES = [iv.NormalizedVariance(), iv.EquivarianceError(feature_action="trivial")]


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.fc = nn.Linear(6, 3)

    def forward(self, x: Tensor, shift: Tensor) -> Tensor:
        return self.fc(x + shift)


def samples(count: int = 24) -> list[dict[str, np.ndarray]]:
    generator = np.random.default_rng(0)
    return [{name: generator.random(6, np.float32) for name in ("x", "shift")} for _ in range(count)]


def stacked(given: list[dict[str, np.ndarray]]) -> dict[str, Tensor]:
    return {name: torch.from_numpy(np.stack([sample[name] for sample in given])) for name in given[0]}


def in_place(given: list[dict[str, np.ndarray]]) -> dict[str, Tensor]:
    for sample in given:
        sample["shift"] *= 2  # a field that no element moves, so that all elements share it
        sample["x"] -= 1
    return stacked(given)


def not_in_place(given: list[dict[str, np.ndarray]]) -> dict[str, Tensor]:
    return stacked([{"x": sample["x"] - 1, "shift": sample["shift"] * 2} for sample in given])


@pytest.mark.parametrize("repeats", [1, 2])
def test_fields_that_no_element_moves_are_as_given_in_every_row(repeats):
    moves = iv.On([lambda x: x, lambda x: -x, lambda x: x[::-1].copy()], "x")
    data, options = (
        samples(),
        {"progress": False, "repeats": repeats, "measures": MEASURES},
    )
    before = copy.deepcopy(data)
    values = [
        iv.measure(Net(), data, moves, preprocess=preprocess, **options).table["value"].tolist()
        for preprocess in (in_place, not_in_place)
    ]
    assert values[0] == values[1]
    assert all(
        (one[name] == other[name]).all() for one, other in zip(data, before, strict=True) for name in one
    )


def test_one_tensor_stays_as_it_is():
    x = torch.rand(24, 6, generator=torch.Generator().manual_seed(0))
    options = {"progress": False, "measures": MEASURES}
    before, elements = x.clone(), [torch.clone, torch.neg]
    values = [
        iv.measure(nn.Tanh(), x, elements, preprocess=preprocess, **options).table["value"].tolist()
        for preprocess in (lambda rows: rows.mul_(3), lambda rows: rows * 3)
    ]
    assert values[0] == values[1]
    assert torch.equal(x, before)


def test_images_may_be_drawn_on():
    images = [Image.fromarray(np.full((4, 4), 10 * k, np.uint8)) for k in range(12)]

    def painted(given: list[Image.Image]) -> Tensor:
        for image in given:
            image.putpixel((0, 0), image.getpixel((0, 0)) + 5)
        return torch.stack([torch.from_numpy(np.array(image)).float() for image in given])

    iv.measure(nn.Flatten(), images, iv.QuarterTurns(), preprocess=painted, progress=False)
    assert [image.getpixel((0, 0)) for image in images] == [10 * k for k in range(12)]
