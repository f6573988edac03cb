"""Graph networks of PyTorch Geometric under permutations of their nodes: known answers."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import invariscope as iv

geometric = pytest.importorskip("torch_geometric")
pytestmark = pytest.mark.filterwarnings("ignore")

LAYERS = ["conv1", "conv2", "head"]
POOLED = {"conv*": iv.Pool("mean", index="batch")}
APART = {"conv*": iv.Rows(index="batch")}
ORDERS = iv.RandomPermutations(4)


def graphs(count: int = 24) -> list[Any]:
    """Random trees of 5 to 12 nodes, with a hub: nodes of unequal degree, which permutations tell apart."""
    from torch_geometric.data import Data

    draw = torch.Generator().manual_seed(0)
    found = []
    for number in range(count):
        nodes = int(torch.randint(5, 13, (), generator=draw))
        child = torch.arange(1, nodes)
        parent = (torch.rand(nodes - 1, generator=draw).pow(3) * child).long()
        edges = torch.stack([torch.cat([child, parent]), torch.cat([parent, child])])
        found.append(Data(x=torch.randn(nodes, 6, generator=draw), edge_index=edges, y=number % 2))
    return found


class Network(nn.Module):
    def __init__(self, conv: type[nn.Module]) -> None:
        super().__init__()
        self.conv1, self.conv2, self.head = conv(6, 16), conv(16, 16), nn.Linear(16, 3)

    def forward(self, data: Any) -> Tensor:
        from torch_geometric.nn import global_mean_pool

        x = self.conv1(data.x, data.edge_index).relu()
        return self.head(global_mean_pool(self.conv2(x, data.edge_index), data.batch))


def network(kind: str) -> Network:
    from torch_geometric import nn as convolutions

    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Network(getattr(convolutions, kind)).eval()


def values(
    kind: str, transform: Any, measure: Any = "normalized_variance", **options: Any
) -> dict[str, float]:
    """The value of each layer."""
    result = iv.measure(
        network(kind), graphs(), transform, measures=[measure], layers=LAYERS, progress=False, **options
    )
    found = result.table[result.table.measure == getattr(measure, "label", measure)]
    return found.set_index("layer")["value"].to_dict()


@pytest.mark.parametrize("kind", ["GCNConv", "GATConv"])
def test_pooled_layers_are_invariant_to_the_order_of_nodes(kind):
    found = values(kind, iv.On(ORDERS, x="row", edge_index="index"), labels="y", pool=POOLED)
    assert list(found) == LAYERS
    assert max(found.values()) < 1e-6


@pytest.mark.parametrize("kind", ["GCNConv", "GATConv"])
def test_edges_that_are_not_renumbered_break_the_invariance(kind):
    found = values(kind, iv.On(ORDERS, x="row"), labels="y", pool=POOLED)
    assert min(found.values()) > 0.05


def deviation(action: str) -> dict[str, float]:
    measure = iv.EquivarianceDeviation(feature_action={"conv*": action, "head": "trivial"}, distance="l2")
    found = values("GATConv", iv.On(ORDERS, x="row", edge_index="index"), measure, pool=APART)
    return {layer: found[layer] for layer in LAYERS[:2]}


def test_rows_kept_apart_follow_the_order_of_nodes():
    assert max(deviation("row").values()) < 1e-6


def test_rows_kept_apart_do_not_stay_where_they_were():
    assert min(deviation("trivial").values()) > 0.1


def test_unpooled_layers_are_skipped_and_the_reason_names_the_index():
    result = iv.measure(
        network("GCNConv"),
        graphs(),
        iv.On(ORDERS, x="row", edge_index="index"),
        layers=LAYERS,
        progress=False,
    )
    skipped = {entry["layer"]: entry["reason"] for entry in result.provenance["skipped"]}
    assert list(skipped) == ["conv1", "conv2"]
    assert all("iv.Pool('mean', index='batch')" in reason for reason in skipped.values())


def test_graphs_without_edges_are_measured():
    from torch_geometric.data import Data

    draw = torch.Generator().manual_seed(0)
    bare = [
        Data(x=torch.randn(n, 6, generator=draw), edge_index=torch.empty(2, 0).long()) for n in (3, 5, 4, 7)
    ]
    result = iv.measure(
        network("GCNConv"), bare, iv.On(ORDERS, x="row", edge_index="index"), layers="head", progress=False
    )
    assert float(result.table.value.iloc[0]) < 1e-6


def test_loaders_of_graphs_are_taken_apart():
    from torch_geometric.loader import DataLoader

    transform = iv.On(ORDERS, x="row", edge_index="index")
    options = {"layers": LAYERS, "labels": "y", "pool": POOLED, "progress": False}
    listed = iv.measure(network("GCNConv"), graphs(), transform, **options)
    loaded = iv.measure(network("GCNConv"), DataLoader(graphs(), batch_size=5), transform, **options)
    assert loaded.table.samples.tolist() == listed.table.samples.tolist()
    assert loaded.table.value.max() < 1e-6
