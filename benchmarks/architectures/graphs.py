"""Define PyTorch Geometric networks that take one tensor: the features of all nodes of all graphs.

All graphs have the same six nodes and the same edges. They are batched as one large graph, like a PyTorch
Geometric data loader does.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.architectures.catalogue import Architecture, Element, mirror, noise, reordered, unmoved

NODES, FEATURES = 6, 8
_RING = [(a, (a + 1) % NODES) for a in range(NODES)]
EDGES = torch.tensor([*_RING, *((b, a) for a, b in _RING), (0, 3), (3, 0)]).T

Call = Callable[[nn.ModuleDict, Tensor, Tensor, Tensor], Tensor]
ELEMENTS: tuple[Element, ...] = (unmoved, reordered, mirror)


class Graphs(nn.Module):
    """Network on a batch of graphs, followed by the mean over the nodes of each graph.

    Args:
        parts: the modules.
        call: function that returns features of nodes or of graphs, given the parts, the features of all
            nodes, the edges, and the graph number of each node.
    """

    def __init__(self, parts: dict[str, nn.Module], call: Call) -> None:
        super().__init__()
        self.parts = nn.ModuleDict(parts)
        self.call = call
        self.register_buffer("edges", EDGES)

    def forward(self, x: Tensor) -> Tensor:
        """Map (sample, node, feature) to (sample, feature)."""
        from torch_geometric.nn import global_mean_pool

        graphs = torch.arange(len(x), device=x.device)
        index = graphs.repeat_interleave(NODES)
        edges = (self.edges[:, None] + NODES * graphs[:, None]).flatten(1)  # type: ignore[index]
        out = self.call(self.parts, x.flatten(0, 1), edges, index)
        return out if len(out) == len(x) else global_mean_pool(out, index)


def _two_layers(parts: nn.ModuleDict, x: Tensor, edges: Tensor, index: Tensor) -> Tensor:
    return parts["second"](parts["act"](parts["first"](x, edges)), edges)


def layered(kind: str, **settings: Any) -> Architecture:
    """Return two convolutions of the same kind with a ReLU between them."""

    def build() -> nn.Module:
        import torch_geometric.nn as pyg

        make = getattr(pyg, kind)
        first, second = make(FEATURES, 16, **settings), make(16 * settings.get("heads", 1), 8, **settings)
        return Graphs({"first": first, "act": nn.ReLU(), "second": second}, _two_layers)

    return Architecture("torch_geometric", kind, build, noise(NODES, FEATURES), ELEMENTS)


def whole(name: str, make: Callable[[Any], nn.Module], call: Call | None = None) -> Architecture:
    """Return a complete network of the library."""

    def build() -> nn.Module:
        import torch_geometric.nn as pyg

        return Graphs({"network": make(pyg)}, call or _plainly)

    return Architecture("torch_geometric", name, build, noise(NODES, FEATURES), ELEMENTS)


def _plainly(parts: nn.ModuleDict, x: Tensor, edges: Tensor, index: Tensor) -> Tensor:
    return parts["network"](x, edges)


def _gps(pyg: Any) -> nn.Module:
    return pyg.GPSConv(FEATURES, pyg.GCNConv(FEATURES, FEATURES), heads=2)


def _with_index(parts: nn.ModuleDict, x: Tensor, edges: Tensor, index: Tensor) -> Tensor:
    return parts["network"](x, edges, index)


def _no_edges(parts: nn.ModuleDict, x: Tensor, edges: Tensor, index: Tensor) -> Tensor:
    return parts["network"](x, index)


def _attentive(parts: nn.ModuleDict, x: Tensor, edges: Tensor, index: Tensor) -> Tensor:
    return parts["network"](x, edges, x[edges[0], :4], index)


def _edge_network(parts: nn.ModuleDict, x: Tensor, edges: Tensor, index: Tensor) -> Tensor:
    return parts["network"](x, edges, x[edges[0], :4] - x[edges[1], :4])


def _schnet_call(parts: nn.ModuleDict, x: Tensor, edges: Tensor, index: Tensor) -> Tensor:
    atoms = torch.tensor([6, 1, 8, 1, 7, 1], device=x.device).repeat(len(x) // NODES)
    return parts["network"](atoms, x[:, :3], index)


def _all_pairs(positions: Tensor, index: Tensor) -> tuple[Tensor, Tensor]:
    """Return SchNet's neighbours, which are all atoms of the same graph, without a compiled extension."""
    pairs = (index[:, None] == index[None]) & ~torch.eye(len(index), dtype=torch.bool, device=index.device)
    edges = pairs.nonzero().T
    return edges, (positions[edges[0]] - positions[edges[1]]).norm(dim=-1)


def _schnet(pyg: Any) -> nn.Module:
    sizes = {"hidden_channels": 16, "num_filters": 16, "num_interactions": 2, "num_gaussians": 8}
    return pyg.SchNet(**sizes, interaction_graph=_all_pairs)


def _dense(parts: nn.ModuleDict, x: Tensor, edges: Tensor, index: Tensor) -> Tensor:
    adjacency = x.new_zeros(NODES, NODES)
    adjacency[EDGES[0], EDGES[1]] = 1
    adjacency = adjacency.expand(len(x) // NODES, -1, -1)
    return parts["network"](x.unflatten(0, (-1, NODES)), adjacency).flatten(0, 1)


def _degrees() -> Tensor:
    return torch.bincount(torch.bincount(EDGES[1]))


def graphs() -> list[Architecture]:
    """Return all graph networks."""
    sizes = {"in_channels": FEATURES, "hidden_channels": 16, "num_layers": 2, "out_channels": 8}
    degrees = {
        "aggregators": ["mean", "max", "std"],
        "scalers": ["identity", "amplification"],
        "deg": _degrees(),
    }
    return [
        whole("GCN", lambda pyg: pyg.GCN(**sizes, norm="batch_norm")),
        whole("GraphSAGE", lambda pyg: pyg.GraphSAGE(**sizes)),
        whole("GAT", lambda pyg: pyg.GAT(**sizes, heads=2)),
        whole("GATv2", lambda pyg: pyg.GAT(**sizes, heads=2, v2=True)),
        whole("GIN", lambda pyg: pyg.GIN(**sizes)),
        whole("PNA", lambda pyg: pyg.PNA(**sizes, **degrees)),
        whole("EdgeCNN", lambda pyg: pyg.EdgeCNN(**sizes)),
        whole("GraphUNet", lambda pyg: pyg.GraphUNet(FEATURES, 16, 8, depth=2), _with_index),
        whole("GPSConv", _gps, _with_index),
        whole("AttentiveFP", lambda pyg: pyg.AttentiveFP(FEATURES, 16, 8, 4, 2, 2), _attentive),
        whole("NNConv", lambda pyg: pyg.NNConv(FEATURES, 8, nn.Linear(4, 8 * FEATURES)), _edge_network),
        whole("SchNet", _schnet, _schnet_call),
        whole("DenseGCNConv", lambda pyg: pyg.DenseGCNConv(FEATURES, 8), _dense),
        whole("DenseGINConv", lambda pyg: pyg.DenseGINConv(nn.Linear(FEATURES, 8)), _dense),
        whole("Set2Set", lambda pyg: pyg.Set2Set(FEATURES, 2), _no_edges),
        layered("ChebConv", K=2),
        layered("ARMAConv"),
        layered("TAGConv"),
        layered("TransformerConv", heads=2),
        layered("GraphConv"),
    ]
