"""What each odd model's layers produce, from forwards written out by hand: one clone after each operation.

Keys are (layer, call); values (batch, *unit). `read` gives the same form for what a reader hands over.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from invariscope.readers import Inspection, TorchReader
from odd_models import ODD_MODELS

Readings = dict[tuple[str, int], Tensor]
Oracle = Callable[[Any, Tensor], Readings]

ORACLES: dict[str, Oracle] = {}


def oracle(function: Oracle) -> Oracle:
    """Registers the oracle of the odd model of the same name."""
    ORACLES[function.__name__] = function
    return function


class Log(dict[tuple[str, int], Tensor]):
    """Notes clones, and counts the runs of each layer."""

    def __call__(self, layer: str, values: Tensor) -> Tensor:
        call = sum(key[0] == layer for key in self)
        self[layer, call] = values.detach().clone()
        return values


def chain(model: Any, x: Tensor, *names: str) -> Readings:
    """One child after another."""
    log = Log()
    for name in names:
        x = log(name, model.get_submodule(name)(x))
    return log


def numbered(model: Any, x: Tensor) -> Readings:
    """A Sequential without names."""
    return chain(model, x, *map(str, range(len(model))))


@oracle
def plain_cnn(model: Any, x: Tensor) -> Readings:
    return chain(model, x, "conv", "bn", "relu", "pool", "flat", "fc")


@oracle
def in_place_relu(model: Any, x: Tensor) -> Readings:
    log = Log()
    x = log("bn", model.bn(log("conv", model.conv(x))))
    x = log("again", log("relu", x.clamp_min(0)).clamp_max(0.3))
    log("conv2", model.conv2(x))
    return log


@oracle
def in_place_on_the_input(model: Any, x: Tensor) -> Readings:
    log = Log()
    log("conv", model.conv(log("squash", x.clamp(0.2, 0.8))))
    return log


@oracle
def repeats(model: Any, x: Tensor) -> Readings:
    log = Log()
    x = log("drop", log("same", log("conv", model.conv(x))))
    x = log("flat", log("turned", x.transpose(2, 3)).reshape(len(x), -1))
    log("drop2", log("relu", x.clamp_min(0)))
    return log


def _residual_block(block: Any, name: str, x: Tensor, log: Log) -> Tensor:
    y = log(f"{name}.bn", block.bn(log(f"{name}.conv1", block.conv1(x))))
    y = log(f"{name}.conv2", block.conv2(log(f"{name}/relu", y.clamp_min(0))))
    y = log(f"{name}/relu", log(f"{name}/add", y + x).clamp_min(0))
    return log(f"{name}/add", y + 0.5)


@oracle
def residual(model: Any, x: Tensor) -> Readings:
    log = Log()
    x = log("stem", model.stem(x))
    x = _residual_block(model.block2, "block2", _residual_block(model.block1, "block1", x, log), log)
    x = log("head", model.head(log("mean", x.mean((2, 3)))))
    log("log_softmax", x - x.logsumexp(1, keepdim=True))
    return log


@oracle
def residual_in_place(model: Any, x: Tensor) -> Readings:
    log = Log()
    first = log("conv1", model.conv1(x))
    y = log("add", log("conv2", model.conv2(first)) + first)
    y = log("/relu", y.clamp_min(0))
    y = log("mul", log("add", y + 1) * 0.5).clone()
    y[:, 0] = 0
    log("relu", log("sub", y - 0.6).clamp_min(0))
    return log


@oracle
def functional_only(model: Any, x: Tensor) -> Readings:
    log = Log()
    weight = model.weight / model.weight.square().sum(0).sqrt() * 0.5
    hidden = log("tanh", torch.tanh(log("matmul", x @ weight)))
    both = log("cat", torch.cat([hidden, log("sub", 1 - hidden)], dim=1))
    log("softmax", both.reshape(len(x), 2, 3).softmax(-1))
    return log


@oracle
def leaf_with_the_same_operation(model: Any, x: Tensor) -> Readings:
    log = Log()
    y = log("act", log("first", model.first(x)).clamp_min(0))
    y = log("relu", log("sub", y - 0.1).clamp_min(0))
    y = log("act", log("sub", log("second", model.second(y)) - 0.05).clamp_min(0))
    y = log("swish", y * torch.sigmoid(y))
    log("mul", log("sigmoid", torch.sigmoid(y)) * y)
    return log


@oracle
def shared_module(model: Any, x: Tensor) -> Readings:
    log = Log()
    for _ in range(2):
        x = log("act", log("mix", model.mix(x)).clamp_min(0))
    log("mix", model.mix(x))
    return log


@oracle
def shared_container(model: Any, x: Tensor) -> Readings:
    log, y = Log(), x
    for _ in range(2):
        y = log("step/add", y + log("step/tanh", torch.tanh(log("step.lin", model.step.lin(y)))))
    log("sub", y - x)
    return log


@oracle
def many_outputs(model: Any, x: Tensor) -> Readings:
    log = Log()
    total = log("add", log("pair", x * 0.5) + log("pair[1]", x * 2))
    logits = log("table", total.sin())
    log("table[features][0]", total.cos())
    log("table[features][1][deep]", total.exp())
    log("record", logits[:, :2] * 3)
    log("record[fine][0]", logits + 1)
    log("record[fine][1]", logits + 2)
    return log


@oracle
def wrapped_tensors(model: Any, x: Tensor) -> Readings:
    log = Log()
    log("exp", log("again", log("field", log("lin", model.lin(x)) * 3 - 1) * 3 - 1).exp())
    return log


@oracle
def refused_layers(model: Any, x: Tensor) -> Readings:
    return chain(model, x, "lin")


@oracle
def lstm_batch_first(model: Any, x: Tensor) -> Readings:
    log = Log()
    output, (hidden, cell) = model.rnn(x)
    log("rnn", output)
    log("rnn[1][0]", hidden.transpose(0, 1))
    log("rnn[1][1]", cell.transpose(0, 1))
    log("head", model.head(output[:, -1]))
    return log


@oracle
def lstm_sequence_first(model: Any, x: Tensor) -> Readings:
    log = Log()
    output, (hidden, cell) = model.rnn(x.transpose(0, 1))
    log("rnn", output.transpose(0, 1))
    log("rnn[1][0]", hidden.transpose(0, 1))
    log("rnn[1][1]", cell.transpose(0, 1))
    log("head", model.head(output[-1]))
    return log


@oracle
def gru_bidirectional(model: Any, x: Tensor) -> Readings:
    log = Log()
    output, hidden = model.rnn(x)
    log("rnn", output)
    log("rnn[1]", hidden.transpose(0, 1))
    log("head", model.head(output[:, -1]))
    return log


def _attention(attention: Any, x: Tensor) -> tuple[Tensor, Tensor]:
    """(batch, length, width) through multi-head attention, from its weights."""
    batch, length, width = x.shape
    heads = attention.num_heads
    projected = x @ attention.in_proj_weight.T + attention.in_proj_bias
    split = projected.view(batch, length, 3, heads, width // heads).permute(2, 0, 3, 1, 4)
    scores = (split[0] @ split[1].transpose(-1, -2) / (width // heads) ** 0.5).softmax(-1)
    mixed = (scores @ split[2]).transpose(1, 2).reshape(batch, length, width)
    return mixed @ attention.out_proj.weight.T + attention.out_proj.bias, scores.mean(1)


@oracle
def attention_batch_first(model: Any, x: Tensor) -> Readings:
    log = Log()
    mixed, weights = _attention(model.attn, x)
    log("attn", mixed)
    log("attn[1]", weights)
    log("mean", log("norm", model.norm(log("add", x + mixed))).mean(1))
    return log


@oracle
def attention_sequence_first(model: Any, x: Tensor) -> Readings:
    return attention_batch_first(model, x)


@oracle
def transformer_encoder(model: Any, x: Tensor) -> Readings:
    log = Log()
    for index, layer in enumerate(model.layers):
        name = f"layers.{index}"
        mixed = log(f"{name}.dropout1", log(f"{name}.self_attn", _attention(layer.self_attn, x)[0]))
        x = log(f"{name}.norm1", layer.norm1(log(f"{name}/add", x + mixed)))
        y = log(f"{name}/relu", log(f"{name}.linear1", layer.linear1(x)).clamp_min(0))
        y = log(f"{name}.linear2", layer.linear2(log(f"{name}.dropout", y)))
        x = log(f"{name}.norm2", layer.norm2(log(f"{name}/add", x + log(f"{name}.dropout2", y))))
    return log


@oracle
def sequence_first(model: Any, x: Tensor) -> Readings:
    log = Log()
    y = log("act", F.gelu(log("lift", model.lift(x))))
    log("head", model.head(log("mean", y.mean(1))))
    return log


@oracle
def batch_times_heads(model: Any, x: Tensor) -> Readings:
    log, (batch, length, _) = Log(), x.shape
    lifted = log("lift", model.lift(x))
    q, k, v = lifted.view(batch, length, 3, 2, 2).permute(2, 0, 3, 1, 4)  # (batch, head, length, width)
    weights = log("weights", log("bmm", q @ k.transpose(2, 3)).softmax(-1))
    mixed = log("bmm", weights @ v)
    log("out", model.out(mixed.transpose(1, 2).reshape(batch, length, 4)))
    return log


@oracle
def windows(model: Any, x: Tensor) -> Readings:
    log = Log()
    cuts = [x[:, :, i : i + 4, j : j + 4] for i in (0, 4) for j in (0, 4)]
    maps = log("conv", torch.stack([model.conv(cut) for cut in cuts], dim=1))
    log("mean", log("head", model.head(maps.flatten(2))).mean(1))
    return log


@oracle
def two_views(model: Any, x: Tensor) -> Readings:
    log = Log()
    both = log("cat", torch.stack([x, x.flip(1)], dim=1))
    left, right = log("encode", model.encode(both)).unbind(1)
    log("mul", left * right)
    return log


@oracle
def bf16_model(model: Any, x: Tensor) -> Readings:
    return {("2", 0): model[1](model[0](x)).clamp_min(0)} | chain(model, x, "0", "1")


@oracle
def double_model(model: Any, x: Tensor) -> Readings:
    return numbered(model, x)


@oracle
def channels_last_model(model: Any, x: Tensor) -> Readings:
    return numbered(model, x)


@oracle
def in_train_mode(model: Any, x: Tensor) -> Readings:
    conv, bn = model[0](x), model[1]
    scale = bn.weight / (bn.running_var + bn.eps).sqrt()
    shift = bn.bias - bn.running_mean * scale
    normed = conv * scale[:, None, None] + shift[:, None, None]
    flat = normed.flatten(1)
    return {("0", 0): conv, ("1", 0): normed, ("2", 0): normed, ("3", 0): flat, ("4", 0): flat}


@oracle
def in_mixed_modes(model: Any, x: Tensor) -> Readings:
    return numbered(model, x)


@oracle
def half_frozen(model: Any, x: Tensor) -> Readings:
    return numbered(model, x)


@oracle
def wrapped_forward(model: Any, x: Tensor) -> Readings:
    log = Log(numbered(model, x))
    log("add", log["2", 0] + 1)
    return log


@oracle
def weight_norm(model: Any, x: Tensor) -> Readings:
    return numbered(model, x)


@oracle
def scripted_inside(model: Any, x: Tensor) -> Readings:
    return numbered(model, x)


@oracle
def needs_gradients(model: Any, x: Tensor) -> Readings:
    readings = chain(model, x, "energy.0", "energy.1", "energy.2")
    slope = 1 - readings["energy.1", 0].square()
    force = (slope * model.energy[2].weight) @ model.energy[0].weight
    return readings | {("grad", 0): force, ("neg", 0): -force}


# --- reading ---------------------------------------------------------------------------------------------


def read(reader: TorchReader, x: Tensor, **options: Any) -> Readings:
    """Clones of everything handed over, aliases included."""
    found: Readings = {}

    def sink(reading: Any) -> None:
        assert (reading.layer, reading.call) not in found
        assert reading.status == "ok"
        assert not reading.values.requires_grad
        found[reading.layer, reading.call] = reading.values.clone()

    with reader.open(**options) as forward:
        forward(x, sink)
    return found


def inspected(name: str) -> tuple[Inspection, TorchReader, Tensor]:
    model, x = ODD_MODELS[name]()
    reader = TorchReader(model)
    return reader.inspect(x), reader, x
