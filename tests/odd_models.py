"""Models that trip up naive readers, each seeded and with a small batch of inputs.

    model, x = ODD_MODELS["in_place_relu"]()

All take floating inputs (batch, ...) and respond to an input alone. Those of UNSTABLE_MODELS do not: their
response depends on chance or on the other inputs of the batch.
"""

from __future__ import annotations

import warnings
from collections import OrderedDict
from collections.abc import Callable
from functools import wraps
from typing import Any

import torch
from torch import Tensor, nn

from odd_layers import (
    Attention,
    BatchTimesHeads,
    FunctionalDropout,
    FunctionalOnly,
    LeafWithTheSameOperation,
    ManyOutputs,
    NeedsGradients,
    Recurrent,
    Refused,
    Residual,
    ResidualInPlace,
    SequenceFirst,
    Shared,
    SharedContainer,
    TwoViews,
    Windows,
    WrappedTensors,
)

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


@odd(1, 7, 7)
def residual() -> nn.Module:
    return Residual().eval()


@odd(1, 5, 5)
def residual_in_place() -> nn.Module:
    return ResidualInPlace().eval()


@odd(6)
def functional_only() -> nn.Module:
    return FunctionalOnly().eval()


@odd(4)
def leaf_with_the_same_operation() -> nn.Module:
    return LeafWithTheSameOperation().eval()


# --- calls and outputs ----------------------------------------------------------------------------------


@odd(6)
def shared_module() -> nn.Module:
    return Shared().eval()


@odd(4)
def shared_container() -> nn.Module:
    return SharedContainer().eval()


@odd(4)
def many_outputs() -> nn.Module:
    return ManyOutputs().eval()


@odd(4)
def wrapped_tensors() -> nn.Module:
    return WrappedTensors().eval()


@odd(4)
def refused_layers() -> nn.Module:
    return Refused().eval()


# --- where the batch is ---------------------------------------------------------------------------------


@odd(4, 3)
def lstm_batch_first() -> nn.Module:
    return Recurrent(nn.LSTM(3, 5, num_layers=2, batch_first=True)).eval()


@odd(4, 3)
def lstm_sequence_first() -> nn.Module:
    return Recurrent(nn.LSTM(3, 5)).eval()


@odd(4, 3)
def gru_bidirectional() -> nn.Module:
    return Recurrent(nn.GRU(3, 5, batch_first=True, bidirectional=True)).eval()


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


@odd(3, 3)
def sequence_first() -> nn.Module:
    return SequenceFirst().eval()


@odd(3, 4)
def batch_times_heads() -> nn.Module:
    return BatchTimesHeads().eval()


@odd(1, 8, 8)
def windows() -> nn.Module:
    return Windows().eval()


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


@odd(4)
def needs_gradients() -> nn.Module:
    return NeedsGradients().eval()


# --- unstable -------------------------------------------------------------------------------------------


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
