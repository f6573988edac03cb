"""Define PyTorch Geometric networks on graphs of different sizes, and a potential for molecules."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.architectures.graphs import FEATURES
from benchmarks.architectures.graphs import graphs as tensors
from benchmarks.architectures.own_inputs.catalogue import Element, OwnInputs, Sample, lengths, unmoved

Call = Callable[[nn.Module, Any], Any]


def drawn(generator: torch.Generator) -> list[Any]:
    """Draw rings of 4 to 9 nodes with a chord. Nodes also have positions and atomic numbers."""
    from torch_geometric.data import Data

    found = []
    for nodes in lengths(4, 9):
        ring = [(a, (a + 1) % nodes) for a in range(nodes)]
        edges = torch.tensor([*ring, *((b, a) for a, b in ring), (0, 2), (2, 0)]).T
        found.append(
            Data(
                x=torch.randn(nodes, FEATURES, generator=generator),
                edge_index=edges,
                edge_attr=torch.randn(edges.shape[1], 4, generator=generator),
                pos=torch.randn(nodes, 3, generator=generator),
                z=torch.randint(1, 9, (nodes,), generator=generator),
            )
        )
    return found


def renumbered(graph: Any) -> Any:
    """Shift the nodes cyclically by one."""
    graph, count = graph.clone(), graph.num_nodes
    graph.x, graph.pos, graph.z = (field.roll(1, 0) for field in (graph.x, graph.pos, graph.z))
    graph.edge_index = (graph.edge_index + 1) % count
    return graph


def reflected(graph: Any) -> Any:
    """Change the signs of the features and of one coordinate."""
    graph = graph.clone()
    graph.x, graph.pos = -graph.x, graph.pos * torch.tensor([-2.0, 1.0, 1.0])
    return graph


ELEMENTS: tuple[Element, ...] = (unmoved, renumbered, reflected)


def batched(graphs: Sequence[Any]) -> Any:
    """Collate graphs, and assign edges and pairs to graphs, so that their layers can be pooled."""
    from torch_geometric.data import Batch
    from torch_geometric.utils import to_dense_batch

    batch = Batch.from_data_list(list(graphs))
    batch.edge_batch = batch.batch[batch.edge_index[0]]
    together = (batch.batch[:, None] == batch.batch[None]).fill_diagonal_(False)
    batch.pair_batch = batch.batch[together.nonzero()[:, 0]]
    batch.node_mask = to_dense_batch(batch.x, batch.batch)[1]
    return batch


def dense(graphs: Sequence[Any]) -> dict[str, Tensor]:
    """Collate graphs to padded nodes, adjacency matrices and a mask."""
    from torch_geometric.utils import to_dense_adj, to_dense_batch

    batch = batched(graphs)
    x, mask = to_dense_batch(batch.x, batch.batch)
    return {"x": x, "adj": to_dense_adj(batch.edge_index, batch.batch), "mask": mask}


CALLS: dict[str, Call] = {
    "GraphUNet": lambda net, batch: net(batch.x, batch.edge_index, batch.batch),
    "GPSConv": lambda net, batch: net(batch.x, batch.edge_index, batch.batch),
    "AttentiveFP": lambda net, batch: net(batch.x, batch.edge_index, batch.edge_attr, batch.batch),
    "NNConv": lambda net, batch: net(batch.x, batch.edge_index, batch.edge_attr),
    "SchNet": lambda net, batch: net(batch.z, batch.pos, batch.batch),
    "Set2Set": lambda net, batch: net(batch.x, batch.batch),
    "DenseGCNConv": lambda net, batch: net(batch["x"], batch["adj"], batch["mask"]),
    "DenseGINConv": lambda net, batch: net(batch["x"], batch["adj"], batch["mask"]),
}


class Layers(nn.Module):
    """Network of two graph convolutions with a ReLU between them."""

    def __init__(self, parts: nn.ModuleDict) -> None:
        super().__init__()
        self.first, self.act, self.second = parts["first"], parts["act"], parts["second"]

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        return self.second(self.act(self.first(x, edge_index)), edge_index)


def _plainly(net: nn.Module, batch: Any) -> Any:
    return net(batch.x, batch.edge_index)


def _unwrapped(build: Callable[[], Any]) -> Callable[[], nn.Module]:
    def made() -> nn.Module:
        parts = build().parts
        return parts["network"] if "network" in parts else Layers(parts)

    return made


def graphs() -> list[OwnInputs]:
    """Return all graph networks."""
    found = []
    for known in tensors():
        padded = known.name.startswith("Dense")
        collate: Any = dense if padded else batched
        masks, indices = (
            (("mask",), ()) if padded else (("node_mask",), ("batch", "edge_batch", "pair_batch"))
        )
        given = (drawn, ELEMENTS, collate, masks, indices, CALLS.get(known.name, _plainly))
        kind = "graphs, padded" if padded else "graphs"
        found.append(OwnInputs(known.library, known.name, _unwrapped(known.build), *given, kind=kind))
    return found


def molecules(generator: torch.Generator) -> list[Sample]:
    """Return molecules and crystals, the largest last."""
    from ase.build import bulk, molecule

    names = ["H2", "OH", "H2O", "CO2", "NH3", "CH4", "CH3OH", "C2H4", "C2H6", "CH3CH2OH"]
    return [bulk("NaCl", "rocksalt", 5.64), bulk("Cu", cubic=True), *map(molecule, names)]


def turned(atoms: Any) -> Any:
    """Rotate atoms, and their cell, by 90° about an axis."""
    atoms = atoms.copy()
    atoms.rotate(90, "z", rotate_cell=True)
    return atoms


def stretched(atoms: Any) -> Any:
    """Stretch atoms, and their cell, by 2%."""
    atoms = atoms.copy()
    atoms.set_cell(atoms.cell * 1.02)
    atoms.positions = atoms.positions * 1.02
    return atoms


def potential() -> OwnInputs:
    """Return SevenNet-0 with its pretrained weights, which are part of its package."""
    from sevenn.atom_graph_data import AtomGraphData
    from sevenn.calculator import SevenNetCalculator
    from sevenn.train.dataload import unlabeled_atoms_to_graph
    from torch_geometric.data import Batch

    calculator = SevenNetCalculator("7net-0", device="cpu")
    calculator.model.set_is_batch_data(True)

    def collate(samples: Sequence[Any]) -> Any:
        numbers = [unlabeled_atoms_to_graph(atoms, calculator.cutoff) for atoms in samples]
        batch = Batch.from_data_list([AtomGraphData.from_numpy_dict(one) for one in numbers])
        batch["edge_batch"] = batch["batch"][batch["edge_index"][0]]
        return batch

    given = (molecules, (unmoved, turned, stretched), collate, (), ("batch", "edge_batch"))
    call: Call = lambda net, batch: net(batch)  # noqa: E731
    settings: Any = {
        "call": call,
        "gradients": True,
        "precision": "float32",
        "kind": "molecules and crystals",
    }
    return OwnInputs("sevenn", "SevenNet-0", lambda: calculator.model, *given, **settings)
