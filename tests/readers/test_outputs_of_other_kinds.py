"""Modules that return graphs, scripted models called in another way, signals of several lengths."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import invariscope as iv
from invariscope.readers import TorchReader

pytestmark = pytest.mark.usefixtures("seeded")


class Graph:
    """As much of a graph of PyTorch Geometric as is asked for."""

    def __init__(self, **parts: Tensor) -> None:
        vars(self).update(parts)

    def keys(self) -> list[str]:
        return list(vars(self))

    def to_dict(self) -> dict[str, Tensor]:
        return dict(vars(self))

    def apply(self, change: Callable[[Tensor], Tensor]) -> Graph:
        vars(self).update({name: change(part) for name, part in vars(self).items()})
        return self


class Hidden(nn.Module):
    """Replaces the features of the graph that it gets, as the blocks of SevenNet do."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(3, 3))

    def forward(self, graph: Graph) -> Graph:
        graph.x = graph.x @ self.weight
        return graph


class Halves(nn.Module):
    """Adds two parts, and writes over the features in place."""

    def forward(self, graph: Graph) -> Graph:
        graph.x.mul_(2)
        graph.energy, graph.forces = graph.x.sum(1), -graph.x
        return graph


class Passes(nn.Module):
    """Returns the graph as it got it."""

    def forward(self, graph: Graph) -> Graph:
        return graph


def graphs(x: list[dict[str, Tensor]]) -> Graph:
    return Graph(x=torch.stack([sample["x"] for sample in x]), kind=torch.zeros(len(x)))


def test_of_a_graph_a_module_owns_what_it_has_added_replaced_or_written_to():
    model = nn.Sequential(Hidden(), Passes(), Halves())
    samples = [{"x": torch.randn(3)} for _ in range(4)]
    result = iv.measure(
        model,
        samples,
        iv.On(iv.Elements([torch.clone, torch.neg]), "x"),
        measures=["transformation_variance"],
        preprocess=graphs,
        progress=False,
    )
    assert result.table.layer.tolist() == ["0", "2", "2[energy]", "2[forces]"]
    assert [entry["layer"] for entry in result.provenance["skipped"]] == ["1"]
    with torch.no_grad():
        hidden = torch.stack([sample["x"] for sample in samples]) @ model[0].weight
    expected = {"0": hidden, "2": 2 * hidden, "2[energy]": (2 * hidden).sum(1), "2[forces]": -2 * hidden}
    for layer, values in expected.items():
        found = result.maps["transformation_variance", layer]
        variance = torch.stack([values, -values]).var(0).mean(0)
        np.testing.assert_allclose(found, variance.numpy().reshape(found.shape), rtol=1e-5)


class Detector(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x)

    @torch.jit.export
    def twice(self, x: Tensor) -> Tensor:
        return self.layer(2 * x)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_scripted_model_that_is_called_by_another_method_is_no_internal_error():
    scripted: Any = torch.jit.script(Detector())

    def call(model: Any, x: Tensor) -> Tensor:
        return model.twice(x)

    reader = TorchReader(scripted, call=call)
    inspection = reader.inspect(torch.randn(3, 4))
    assert not inspection.layers
    assert inspection.unused == ("Detector",)


def test_signals_of_several_lengths_are_samples():
    signals = [np.random.default_rng(k).random(5 + k) for k in range(6)]
    before = copy.deepcopy(signals)

    def means(signals: list[np.ndarray]) -> Tensor:
        return torch.tensor([[signal.mean(), signal.max()] for signal in signals])

    result = iv.measure(
        nn.Identity(),
        signals,
        [np.copy, lambda signal: signal[::-1]],
        measures=["transformation_variance"],
        preprocess=means,
        progress=False,
    )
    assert result.table.samples.tolist() == [6]
    assert result.table.value.tolist() == pytest.approx([0], abs=1e-12)
    assert all(map(np.array_equal, signals, before))
