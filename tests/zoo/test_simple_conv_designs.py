"""SimpleConv's variants differ in what was asked for, and in nothing else."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from invariscope.zoo import Card, build, load_network, save_network
from invariscope.zoo.networks.simple_conv import ACTIVATIONS, POOLING

NARROW = {"filters": 2, "fc": 4}
VARIANTS = [
    *({"activation": name} for name in ACTIVATIONS),
    *({"pooling": name} for name in POOLING),
    *({"kernel_size": size} for size in (1, 3, 5, 7)),
    {"batch_norm": True, "activation": "elu", "pooling": "stride", "kernel_size": 5},
]


def kinds(model: nn.Module) -> dict[str, str]:
    return {name: type(module).__name__ for name, module in model.named_children()}


@pytest.mark.parametrize("options", VARIANTS, ids=str)
@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 32, 32), (2, 30, 45), (1, 5, 7)])
def test_every_variant_takes_every_image_size(options, shape):
    torch.manual_seed(0)
    output = build("simple_conv", input_shape=shape, classes=7, **NARROW, **options)(torch.rand(3, *shape))
    torch.testing.assert_close(output.exp().sum(1), torch.ones(3))


@pytest.mark.parametrize("options", VARIANTS, ids=str)
def test_a_variant_comes_back_from_its_card(tmp_path, options):
    torch.manual_seed(0)
    card = Card(
        network="simple_conv",
        input_shape=(1, 28, 28),
        classes=tuple("0123456789"),
        options={**NARROW, **options},
    )
    model = card.build().eval()
    save_network(tmp_path / "net", model, card)
    again, read = load_network(tmp_path / "net")
    assert read.options == {**NARROW, **options}
    assert kinds(again) == kinds(model)
    x = torch.rand(2, 1, 28, 28)
    assert torch.equal(again(x), model(x))


def test_the_defaults_are_the_published_choices():
    named = {"batch_norm": False, "activation": "relu", "pooling": "max", "kernel_size": 3}
    plain, spelled = build("simple_conv", **NARROW), build("simple_conv", **NARROW, **named)
    assert kinds(plain) == kinds(spelled)
    assert all(torch.equal(a, b) for a, b in zip(plain.parameters(), spelled.parameters(), strict=True))


def test_options_without_weights_leave_the_draw_as_it_is():
    plain = build("simple_conv", **NARROW).state_dict()
    other = build("simple_conv", **NARROW, activation="tanh", pooling="average").state_dict()
    assert list(plain) == list(other)
    assert all(torch.equal(plain[name], other[name]) for name in plain)


def test_activations_are_called_what_they_are():
    found = kinds(build("simple_conv", **NARROW, activation="elu"))
    assert [name for name, kind in found.items() if kind == "ELU"] == [
        "elu1", "elu2", "elu3", "elu4", "elu5", "fc1_elu",
    ]  # fmt: skip
    assert "ReLU" not in found.values()


def test_strides_stand_where_pooling_was_and_need_no_more_weights():
    pooled, strided = (build("simple_conv", **NARROW, pooling=name) for name in ("max", "stride"))
    assert "MaxPool2d" in kinds(pooled).values()
    assert not {"MaxPool2d", "AvgPool2d"} & set(kinds(strided).values())
    strides = {name: m.stride for name, m in strided.named_children() if isinstance(m, nn.Conv2d)}
    assert [name for name, stride in strides.items() if stride == (2, 2)] == ["conv2", "conv4"]
    shapes = [{n: v.shape for n, v in model.state_dict().items()} for model in (pooled, strided)]
    assert shapes[0] == shapes[1]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"activation": "rleu"}, r"unknown activation 'rleu'. Closest: 'relu'"),
        ({"pooling": "mean"}, r"unknown pooling 'mean'"),
        ({"kernel_size": 4}, r"kernel_size must be odd, such as 3, 5 or 9; got 4"),
        ({"kernel_size": -3}, r"got -3"),
        ({"kernel_size": "3"}, r"got '3'"),
    ],
)
def test_impossible_variants_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        build("simple_conv", **options)
