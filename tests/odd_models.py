"""Models that trip up naive readers, each seeded and with a small batch of inputs.

    model, x = ODD_MODELS["in_place_relu"]()

All take floating inputs (batch, ...) and respond to an input alone. Those of UNSTABLE_MODELS do not: their
response depends on chance or on the other inputs of the batch.
"""

from __future__ import annotations

import warnings
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

BATCH = 5

Build = Callable[[], tuple[nn.Module, Tensor]]
ODD_MODELS: dict[str, Build] = {}
UNSTABLE_MODELS: dict[str, Build] = {}


def odd(*shape: int, into: dict[str, Build] = ODD_MODELS, seed: int = 0) -> Callable[[Any], Any]:
    """Registers a function that makes a model: it becomes one that builds it seeded, with inputs."""

    def register(make: Callable[[], nn.Module]) -> Build:
        @wraps(make)
        def build() -> tuple[nn.Module, Tensor]:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(seed)
                model = make()
                _unsettle(model)
                return model, torch.rand(BATCH, *shape)

        into[make.__name__] = build
        return build

    return register


def _unsettle(model: nn.Module) -> None:
    """Statistics and affine parameters that are not the identity, so that a skipped norm shows."""
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and module.running_mean is not None:
            module.running_mean.copy_(torch.randn_like(module.running_mean) * 0.2)
            assert module.running_var is not None
            module.running_var.copy_(torch.rand_like(module.running_var) + 0.5)


# --- plain, in place, aliases ---------------------------------------------------------------------------


@odd(1, 8, 8)
def plain_cnn() -> nn.Module:
    parts: dict[str, nn.Module] = {
        "conv": nn.Conv2d(1, 3, 3),
        "bn": nn.BatchNorm2d(3),
        "relu": nn.ReLU(),
        "pool": nn.MaxPool2d(2),
        "flat": nn.Flatten(),
        "fc": nn.Linear(27, 4),
    }
    return nn.Sequential(OrderedDict(parts)).eval()


@odd(1, 8, 8)
def in_place_relu() -> nn.Module:
    parts: dict[str, nn.Module] = {
        "conv": nn.Conv2d(1, 3, 3),
        "bn": nn.BatchNorm2d(3),
        "relu": nn.ReLU(inplace=True),
        "again": nn.Hardtanh(0, 0.3, inplace=True),
        "conv2": nn.Conv2d(3, 2, 3),
    }
    return nn.Sequential(OrderedDict(parts)).eval()


@odd(1, 6, 6)
def in_place_on_the_input() -> nn.Module:
    return nn.Sequential(
        OrderedDict(squash=nn.Hardtanh(0.2, 0.8, inplace=True), conv=nn.Conv2d(1, 2, 3))
    ).eval()


@odd(2, 4, 4)
def repeats() -> nn.Module:
    """Identity, an eval Dropout and Flatten hold the values of what is before them; others do not."""
    parts: dict[str, nn.Module] = {
        "conv": nn.Conv2d(2, 3, 3, padding=1),
        "same": nn.Identity(),
        "drop": nn.Dropout(0.5),
        "turned": Transposed(),
        "flat": nn.Flatten(),
        "relu": nn.ReLU(inplace=True),
        "drop2": nn.Dropout(0.5),
    }
    return nn.Sequential(OrderedDict(parts)).eval()


class Transposed(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.transpose(2, 3)


# --- functional operations ------------------------------------------------------------------------------


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


@odd(1, 7, 7)
def residual() -> nn.Module:
    return Residual().eval()


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


@odd(1, 5, 5)
def residual_in_place() -> nn.Module:
    return ResidualInPlace().eval()


class FunctionalOnly(nn.Module):
    """No child at all; arithmetic on weights is no layer."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(6, 3))
        self.register_buffer("scale", torch.tensor(0.5))

    def forward(self, x: Tensor) -> Tensor:
        weight = self.weight / self.weight.norm(dim=0) * self.scale
        hidden = torch.tanh(x @ weight)
        return torch.cat([hidden, 1 - hidden], dim=1).reshape(len(x), 2, 3).softmax(-1)


@odd(6)
def functional_only() -> nn.Module:
    return FunctionalOnly().eval()


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


@odd(4)
def leaf_with_the_same_operation() -> nn.Module:
    return LeafWithTheSameOperation().eval()


# --- calls and outputs ----------------------------------------------------------------------------------


class Shared(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.mix, self.act = nn.Linear(6, 6), nn.ReLU(inplace=True)
        self.also_mix = self.mix

    def forward(self, x: Tensor) -> Tensor:
        x = self.act(self.mix(x))
        x = self.act(self.also_mix(x))
        return self.mix(x)


@odd(6)
def shared_module() -> nn.Module:
    return Shared().eval()


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


@odd(4)
def shared_container() -> nn.Module:
    return SharedContainer().eval()


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


class Index(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.argmax(1)


@odd(4)
def many_outputs() -> nn.Module:
    return ManyOutputs().eval()


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


@odd(4)
def refused_layers() -> nn.Module:
    return Refused().eval()


# --- where the batch is ---------------------------------------------------------------------------------


class Recurrent(nn.Module):
    def __init__(self, cell: nn.RNNBase) -> None:
        super().__init__()
        self.rnn, self.head = cell, nn.Linear(cell.hidden_size * (2 if cell.bidirectional else 1), 3)

    def forward(self, x: Tensor) -> Tensor:
        if self.rnn.batch_first:
            return self.head(self.rnn(x)[0][:, -1])
        return self.head(self.rnn(x.transpose(0, 1))[0][-1])


@odd(4, 3)
def lstm_batch_first() -> nn.Module:
    return Recurrent(nn.LSTM(3, 5, num_layers=2, batch_first=True)).eval()


@odd(4, 3)
def lstm_sequence_first() -> nn.Module:
    return Recurrent(nn.LSTM(3, 5)).eval()


@odd(4, 3)
def gru_bidirectional() -> nn.Module:
    return Recurrent(nn.GRU(3, 5, batch_first=True, bidirectional=True)).eval()


class Attention(nn.Module):
    def __init__(self, *, batch_first: bool) -> None:
        super().__init__()
        self.attn = nn.MultiheadAttention(4, 2, batch_first=batch_first)
        self.norm = nn.LayerNorm(4)

    def forward(self, x: Tensor) -> Tensor:
        x = x if self.attn.batch_first else x.transpose(0, 1)
        mixed, _ = self.attn(x, x, x)
        return self.norm(x + mixed).mean(1 if self.attn.batch_first else 0)


@odd(3, 4)
def attention_batch_first() -> nn.Module:
    return Attention(batch_first=True).eval()


@odd(3, 4)
def attention_sequence_first() -> nn.Module:
    return Attention(batch_first=False).eval()


@odd(3, 4)
def transformer_encoder() -> nn.Module:
    layer = nn.TransformerEncoderLayer(4, 2, dim_feedforward=6, batch_first=True, dropout=0.3)
    return nn.TransformerEncoder(layer, num_layers=2).eval()


class SequenceFirst(nn.Module):
    """The length equals a batch size, so one shape alone cannot tell the axes apart."""

    def __init__(self) -> None:
        super().__init__()
        self.lift, self.act, self.head = nn.Linear(3, 4), nn.GELU(), nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.act(self.lift(x.transpose(0, 1))).mean(0))


@odd(3, 3)
def sequence_first() -> nn.Module:
    return SequenceFirst().eval()


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


@odd(3, 4)
def batch_times_heads() -> nn.Module:
    return BatchTimesHeads().eval()


class Windows(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.head = nn.Conv2d(1, 2, 3), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        batch = len(x)
        cut = x.view(batch, 1, 2, 4, 2, 4).permute(0, 2, 4, 1, 3, 5).reshape(batch * 4, 1, 4, 4)
        return self.head(self.conv(cut).flatten(1)).view(batch, 4, 3).mean(1)


@odd(1, 8, 8)
def windows() -> nn.Module:
    return Windows().eval()


class TwoViews(nn.Module):
    """Two branches stacked along the batch: the rows of one sample lie a batch apart."""

    def __init__(self) -> None:
        super().__init__()
        self.encode = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        both = self.encode(torch.cat([x, x.flip(1)]))
        left, right = both.chunk(2)
        return left * right


@odd(4)
def two_views() -> nn.Module:
    return TwoViews().eval()


# --- formats, modes, wrappers ---------------------------------------------------------------------------


@odd(1, 8, 8)
def bf16_model() -> nn.Module:
    return nn.Sequential(nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.ReLU(inplace=True)).eval().bfloat16()


@odd(1, 8, 8)
def double_model() -> nn.Module:
    return nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.Flatten()).eval().double()


@odd(3, 8, 8)
def channels_last_model() -> nn.Module:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(144, 2))
    return model.eval().to(memory_format=torch.channels_last)  # type: ignore[call-overload]


@odd(1, 8, 8)
def in_train_mode() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.Dropout(0.5), nn.Flatten(), nn.Dropout(0.5)
    )


@odd(1, 8, 8)
def in_mixed_modes() -> nn.Module:
    model = nn.Sequential(nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.Dropout(0.5), nn.BatchNorm2d(3))
    model[1].eval()
    return model


@odd(4)
def half_frozen() -> nn.Module:
    """Some weights are frozen, others hold a gradient."""
    model = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 2))
    model(torch.rand(3, 4)).sum().backward()
    model[0].requires_grad_(False)
    return model.eval()


@odd(4)
def wrapped_forward() -> nn.Module:
    model = nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 2)).eval()
    inner = model.forward
    model.forward = lambda x: inner(x) + 1  # type: ignore[method-assign]
    return model


@odd(4)
def weight_norm() -> nn.Module:
    layer = nn.utils.parametrizations.weight_norm(nn.Linear(4, 5))
    return nn.Sequential(layer, nn.ReLU(), nn.utils.parametrizations.spectral_norm(nn.Linear(5, 3))).eval()


@odd(4)
def scripted_inside() -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        scripted = torch.jit.script(nn.Sequential(nn.Linear(4, 5), nn.ReLU()))
    return nn.Sequential(nn.Tanh(), scripted, nn.Linear(5, 2)).eval()


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


@odd(4)
def needs_gradients() -> nn.Module:
    return NeedsGradients().eval()


# --- unstable -------------------------------------------------------------------------------------------


class FunctionalDropout(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(4, 8), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.second(F.dropout(self.first(x), 0.5))  # training=True is the default


@odd(4, into=UNSTABLE_MODELS)
def functional_dropout() -> nn.Module:
    return FunctionalDropout().eval()


@odd(1, 6, 6, into=UNSTABLE_MODELS)
def batch_statistics() -> nn.Module:
    parts = {
        "conv": nn.Conv2d(1, 3, 3),
        "bn": nn.BatchNorm2d(3, track_running_stats=False),
        "relu": nn.ReLU(),
    }
    return nn.Sequential(OrderedDict(parts)).eval()


@odd(4, 3, into=UNSTABLE_MODELS)
def lstm_along_the_batch() -> nn.Module:
    """Batch-first data in a sequence-first network: each sample sees those before it."""
    return nn.LSTM(3, 5).eval()
