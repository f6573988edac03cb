"""Small models and samples of several kinds: masked texts, graphs, molecules."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

WORDS = ("the", "cat", "sat", "on", "a", "mat", "dog", "ran", "far", "away")


def texts(count: int = 72) -> list[str]:
    generator = np.random.default_rng(0)
    return [" ".join(generator.choice(WORDS, generator.integers(2, 8))) + f" {k}" for k in range(count)]


def tokenized(given: list[str], pad: int = 0) -> dict[str, Tensor]:
    """Ids and mask, padded to the longest text."""
    rows = [[1 + sum(map(ord, word)) % 199 for word in text.split()] for text in given]
    longest = max(map(len, rows))
    ids = torch.full((len(rows), longest), pad)
    mask = torch.zeros(len(rows), longest, dtype=torch.long)
    for place, row in enumerate(rows):
        ids[place, : len(row)] = torch.tensor(row)
        mask[place, : len(row)] = 1
    return {"input_ids": ids, "attention_mask": mask}


class TextModel(nn.Module):
    """Embeds words, mixes each with the mean of its text, and classifies."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.embedding, self.mixer = nn.Embedding(200, 6), nn.Linear(12, 5)
        self.head = nn.Linear(5, 3)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> dict[str, Tensor]:
        mask = attention_mask[..., None].to(self.head.weight.dtype)
        words = self.embedding(input_ids)
        whole = (words * mask).sum(1, keepdim=True) / mask.sum(1, keepdim=True)
        mixed = self.mixer(torch.cat([words, whole.expand_as(words)], -1)).tanh()
        return {"logits": self.head((mixed * mask).sum(1) / mask.sum(1))}


def graphs(count: int = 72) -> list[dict[str, Any]]:
    generator = np.random.default_rng(1)
    found = []
    for _ in range(count):
        nodes, edges = (int(generator.integers(*ends)) for ends in ((3, 8), (2, 12)))
        x = torch.from_numpy(generator.standard_normal((nodes, 3))).float()
        edge_index = torch.from_numpy(generator.integers(0, nodes, (2, edges)))
        found.append({"x": x, "edge_index": edge_index, "y": int(generator.integers(0, 3))})
    return found


def packed(given: list[dict[str, Any]]) -> dict[str, Any]:
    """Several graphs as one, with the graph of each node."""
    sizes = [len(graph["x"]) for graph in given]
    starts = np.cumsum([0, *sizes[:-1]]).tolist()
    edges = [graph["edge_index"] + start for graph, start in zip(given, starts, strict=True)]
    batch = torch.repeat_interleave(torch.arange(len(given)), torch.tensor(sizes))
    return {"x": torch.cat([g["x"] for g in given]), "edge_index": torch.cat(edges, 1), "batch": batch}


class GraphModel(nn.Module):
    """Two rounds of messages along the edges, and a sum over nodes."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv1, self.conv2, self.head = nn.Linear(3, 6), nn.Linear(6, 4), nn.Linear(4, 3)

    def forward(self, x: Tensor, edge_index: Tensor, batch: Tensor) -> Tensor:
        for layer in (self.conv1, self.conv2):
            x = layer(x.index_add(0, edge_index[1], x[edge_index[0]])).relu()
        rows = int(batch[-1]) + 1
        return self.head(x.new_zeros(rows, 4).index_add(0, batch, x))


def molecules(count: int = 72) -> list[dict[str, Any]]:
    generator = np.random.default_rng(2)
    sizes = generator.integers(2, 6, count)
    return [{"pos": torch.from_numpy(generator.standard_normal((int(n), 3)))} for n in sizes]


def collated(given: list[dict[str, Any]]) -> dict[str, Any]:
    sizes = torch.tensor([len(one["pos"]) for one in given])
    batch = torch.repeat_interleave(torch.arange(len(given)), sizes)
    return {"pos": torch.cat([one["pos"] for one in given]), "batch": batch}


class Potential(nn.Module):
    """An energy of distances from the centre, and its forces by autograd."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.radial = nn.Linear(1, 4, dtype=torch.float64)

    def forward(self, pos: Tensor, batch: Tensor) -> dict[str, Tensor]:
        pos = pos.requires_grad_()
        rows = int(batch[-1]) + 1
        centre = pos.new_zeros(rows, 3).index_add(0, batch, pos)
        centre = centre / torch.bincount(batch, minlength=rows)[:, None]
        radius = (pos - centre[batch]).square().sum(1, keepdim=True)
        energies = self.radial(radius).tanh().sum(1)
        (gradient,) = torch.autograd.grad(energies.sum(), pos)
        return {"energy": pos.new_zeros(rows).index_add(0, batch, energies), "forces": -gradient}
