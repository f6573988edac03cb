"""A training may change the head alone, or the parameters that a glob names."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from invariscope.zoo import build, evaluate, load, train

FEW = load("mnist_subset", split="train", samples=96)


def changed(model: nn.Module, before: dict[str, torch.Tensor]) -> set[str]:
    return {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}


def trained(trainable: str | None, **options: object) -> tuple[nn.Module, set[str]]:
    model = build("min_cnn", filters=4, kernel_size=5)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    train(model, FEW, epochs=1, batch_size=32, lr=1e-2, trainable=trainable, **options)
    return model, changed(model, before)


@pytest.mark.parametrize(
    ("trainable", "names"),
    [
        (None, {"conv.weight", "conv.bias", "fc.weight", "fc.bias"}),
        ("head", {"fc.weight", "fc.bias"}),
        ("conv.*", {"conv.weight", "conv.bias"}),
        ("*.bias", {"conv.bias", "fc.bias"}),
    ],
)
def test_only_the_chosen_parameters_change(trainable, names):
    model, found = trained(trainable)
    assert found == names
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_what_was_frozen_by_hand_stays_frozen():
    model = build("min_cnn", filters=4, kernel_size=5)
    model.fc.bias.requires_grad_(False)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    train(model, FEW, epochs=1, trainable="head")
    assert changed(model, before) == {"fc.weight"}
    assert [name for name, p in model.named_parameters() if not p.requires_grad] == ["fc.bias"]


def test_a_head_alone_learns_something_from_random_features():
    data, test = load("mnist_subset", split="train", samples=1000), load("mnist_subset", samples=300)
    model = build("fully_connected", depth=1)
    before = evaluate(model, test)
    train(model, data, epochs=3, batch_size=64, lr=1e-2, trainable="head")
    assert evaluate(model, test) > before + 0.3


def test_another_choice_is_another_training_and_none_leaves_no_trace(tmp_path):
    options = {"epochs": 1, "checkpoint": tmp_path / "at"}
    trained("head", checkpoint=tmp_path / "at")
    with pytest.raises(ValueError, match=r"another training run: trainable is 'head' there and None now"):
        train(build("min_cnn", filters=4, kernel_size=5), FEW, batch_size=32, lr=1e-2, **options)
    model = build("min_cnn", filters=2, kernel_size=3)
    assert "trainable" not in train(model, FEW, epochs=1).describe()


def test_a_resumed_training_of_the_head_equals_an_uninterrupted_one(tmp_path):
    whole, parted = (build("min_cnn", filters=4, kernel_size=3) for _ in range(2))
    train(whole, FEW, epochs=3, trainable="head")
    train(parted, FEW, epochs=2, trainable="head", checkpoint=tmp_path / "at")
    train(parted := build("min_cnn", filters=4, kernel_size=3), FEW, epochs=3, trainable="head",
          checkpoint=tmp_path / "at")  # fmt: skip
    assert changed(parted, whole.state_dict()) == set()


@pytest.mark.parametrize(
    ("network", "trainable", "message"),
    [
        (
            "min_cnn",
            "cnov.*",
            r"trainable='cnov\.\*' matches none of the 4 parameters of MinCNN\. Closest: 'conv",
        ),
        ("all_conv", "head", r"the last linear layer, and AllConv has none: name its parameters"),
    ],
)
def test_a_choice_of_nothing_is_refused(network, trainable, message):
    with pytest.raises(ValueError, match=message):
        train(build(network), FEW, epochs=1, trainable=trainable)
