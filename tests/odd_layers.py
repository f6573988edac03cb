"""The modules behind the odd models, each with one thing in it that a naive reader gets wrong."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class ResidualBlock(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.bn = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.bn(self.conv1(x)))
        y = self.conv2(y) + x
        return F.relu(y) + 0.5


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 3, 3)
        self.block1 = ResidualBlock(3)
        self.block2 = ResidualBlock(3)
        self.head = nn.Linear(3, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.block2(self.block1(self.stem(x)))
        pooled = x.mean((2, 3))
        return F.log_softmax(self.head(pooled), dim=1)


class ResidualInPlace(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 3, 3, padding=1)
        self.conv2 = nn.Conv2d(3, 3, 3, padding=1)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        first = self.conv1(x)
        y = self.conv2(first)
        y += first
        F.relu(y, inplace=True)  # named /relu: a module is called relu already
        y.add_(1.0).mul_(0.5)
        y[:, 0] = 0.0
        return self.relu(y - 0.6)


class FunctionalOnly(nn.Module):
    """No child at all; arithmetic on weights is not a layer."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(6, 3))
        self.register_buffer("scale", torch.tensor(0.5))

    def forward(self, x: Tensor) -> Tensor:
        weight = self.weight / self.weight.norm(dim=0) * self.scale
        hidden = torch.tanh(x @ weight)
        return torch.cat([hidden, 1 - hidden], dim=1).reshape(len(x), 2, 3).softmax(-1)


class LeafWithTheSameOperation(nn.Module):
    """The activation inside the leaf must not be counted among the container's own."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.act, self.second = nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 3)
        self.swish = Swish()

    def forward(self, x: Tensor) -> Tensor:
        y = self.act(self.first(x))
        y = torch.relu(y - 0.1)
        y = self.swish(self.act(self.second(y) - 0.05))
        return torch.sigmoid(y) * y


class Swish(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x * torch.sigmoid(x)


class Shared(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.mix, self.act = nn.Linear(6, 6), nn.ReLU(inplace=True)
        self.also_mix = self.mix

    def forward(self, x: Tensor) -> Tensor:
        x = self.act(self.mix(x))
        x = self.act(self.also_mix(x))
        return self.mix(x)


class SharedContainer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.step = Step()

    def forward(self, x: Tensor) -> Tensor:
        return self.step(self.step(x)) - x


class Step(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.lin = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        return x + torch.tanh(self.lin(x))


@dataclass
class Features:
    coarse: Tensor
    fine: list[Tensor]


class ManyOutputs(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.pair, self.table, self.record = Pair(), Table(), Record()
        self.index = Index()

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        small, large = self.pair(x)
        table = self.table(small + large)
        features = self.record(table["logits"])
        self.index(features.coarse)
        return {"logits": table["logits"], "fine": features.fine[1]}


class Pair(nn.Module):
    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x * 0.5, x * 2


class Table(nn.Module):
    def forward(self, x: Tensor) -> dict[str, Any]:
        return {"logits": x.sin(), "nothing": None, "features": [x.cos(), {"deep": x.exp()}]}


class Record(nn.Module):
    def forward(self, x: Tensor) -> Features:
        return Features(x[:, :2] * 3, [x + 1, x + 2])


class Wrapped:
    """A tensor and what kind of tensor it is, as libraries of steerable networks pass on."""

    def __init__(self, tensor: Tensor) -> None:
        self.tensor, self.type = tensor, "odd"


class Field(nn.Module):
    def forward(self, x: Wrapped) -> Wrapped:
        return Wrapped(x.tensor * 3 - 1)


class WrappedTensors(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.lin, self.field, self.again = nn.Linear(4, 3), Field(), Field()

    def forward(self, x: Tensor) -> Tensor:
        return self.again(self.field(Wrapped(self.lin(x)))).tensor.exp()


class Index(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.argmax(1)


class Refused(nn.Module):
    """Layers that no measure applies to, beside one that can be measured."""

    def __init__(self) -> None:
        super().__init__()
        self.lin, self.similarity, self.spectrum, self.total = (
            nn.Linear(4, 3),
            Similarity(),
            Spectrum(),
            Total(),
        )

    def forward(self, x: Tensor) -> Tensor:
        x = self.lin(x)
        self.similarity(x)
        self.spectrum(x)
        self.total(x)
        return x


class Similarity(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x @ x.T


class Spectrum(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.fft.rfft(x)


class Total(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.sum()


class Recurrent(nn.Module):
    def __init__(self, cell: nn.RNNBase) -> None:
        super().__init__()
        self.rnn, self.head = cell, nn.Linear(cell.hidden_size * (2 if cell.bidirectional else 1), 3)

    def forward(self, x: Tensor) -> Tensor:
        if self.rnn.batch_first:
            return self.head(self.rnn(x)[0][:, -1])
        return self.head(self.rnn(x.transpose(0, 1))[0][-1])


class Attention(nn.Module):
    def __init__(self, *, batch_first: bool) -> None:
        super().__init__()
        self.attn = nn.MultiheadAttention(4, 2, batch_first=batch_first)
        self.norm = nn.LayerNorm(4)

    def forward(self, x: Tensor) -> Tensor:
        x = x if self.attn.batch_first else x.transpose(0, 1)
        mixed, _ = self.attn(x, x, x)
        return self.norm(x + mixed).mean(1 if self.attn.batch_first else 0)


class SequenceFirst(nn.Module):
    """The length equals a batch size, so one shape alone cannot tell the axes apart."""

    def __init__(self) -> None:
        super().__init__()
        self.lift, self.act, self.head = nn.Linear(3, 4), nn.GELU(), nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.act(self.lift(x.transpose(0, 1))).mean(0))


class BatchTimesHeads(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.lift, self.weights, self.out = nn.Linear(4, 12), nn.Softmax(dim=-1), nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        batch, length, _ = x.shape
        parts = self.lift(x).view(batch, length, 3, 2, 2).permute(2, 0, 3, 1, 4)
        q, k, v = parts.reshape(3, batch * 2, length, 2)
        scores = self.weights(torch.bmm(q, k.transpose(1, 2)))
        mixed = torch.bmm(scores, v).view(batch, 2, length, 2).transpose(1, 2).reshape(batch, length, 4)
        return self.out(mixed)


class Windows(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.head = nn.Conv2d(1, 2, 3), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        batch = len(x)
        cut = x.view(batch, 1, 2, 4, 2, 4).permute(0, 2, 4, 1, 3, 5).reshape(batch * 4, 1, 4, 4)
        return self.head(self.conv(cut).flatten(1)).view(batch, 4, 3).mean(1)


class TwoViews(nn.Module):
    """Two branches stacked along the batch: the rows of one sample lie a batch apart."""

    def __init__(self) -> None:
        super().__init__()
        self.encode = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        both = self.encode(torch.cat([x, x.flip(1)]))
        left, right = both.chunk(2)
        return left * right


class NeedsGradients(nn.Module):
    """A force: minus the gradient of an energy, computed within the forward."""

    def __init__(self) -> None:
        super().__init__()
        self.energy = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 1))

    def forward(self, x: Tensor) -> Tensor:
        with torch.enable_grad():
            x = x.clone().requires_grad_(True)
            (force,) = torch.autograd.grad(self.energy(x).sum(), x)
        return -force


class FunctionalDropout(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(4, 8), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.second(F.dropout(self.first(x), 0.5))  # training=True is the default
