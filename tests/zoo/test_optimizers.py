"""SGD, its schedules, weight decay and label smoothing: known answers on one step, and what is refused."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from invariscope.zoo import build, load, train
from invariscope.zoo.schedules import SCHEDULES, learning_rate

FEW = load("mnist_subset", split="train", samples=96)
SGD = {"optimizer": "sgd", "lr": 0.1}


def linear() -> nn.Module:
    """One layer over the pixels of a digit, with weights that are not 0."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(784, 10))
    nn.init.constant_(model[1].bias, 0.5)
    return model


def gradients(model: nn.Module, label_smoothing: float = 0.0) -> dict[str, torch.Tensor]:
    log_p = model(FEW.images).log_softmax(1)
    own = log_p[torch.arange(len(FEW)), FEW.labels]
    loss = -((1 - label_smoothing) * own + label_smoothing * log_p.mean(1)).mean()
    names, parameters = zip(*model.named_parameters(), strict=True)
    return dict(zip(names, torch.autograd.grad(loss, parameters), strict=True))


@pytest.mark.parametrize("label_smoothing", [0.0, 0.2])
def test_the_first_step_of_sgd_decays_weights_but_no_biases(label_smoothing):
    model, start = linear(), linear()
    train(model, FEW, epochs=1, batch_size=96, weight_decay=0.3, label_smoothing=label_smoothing, **SGD)
    slope = gradients(start, label_smoothing)
    weight, bias = start[1].weight, start[1].bias
    # Nesterov: the first step goes 1 + 0.9 times as far as the gradient.
    torch.testing.assert_close(model[1].weight, weight - 0.19 * (slope["1.weight"] + 0.3 * weight))
    torch.testing.assert_close(model[1].bias, bias - 0.19 * slope["1.bias"])


def test_the_second_step_has_nesterov_momentum():
    model, reference = linear(), linear()
    train(model, FEW, epochs=2, batch_size=96, **SGD)
    velocity = {name: torch.zeros_like(p) for name, p in reference.named_parameters()}
    for _ in range(2):
        slope = gradients(reference)
        with torch.no_grad():
            for name, parameter in reference.named_parameters():
                velocity[name] = 0.9 * velocity[name] + slope[name]
                parameter -= 0.1 * (slope[name] + 0.9 * velocity[name])
    torch.testing.assert_close(model[1].weight, reference[1].weight)


def test_scales_and_shifts_of_normalisation_do_not_decay():
    model = build("simple_conv", filters=2, fc=4, batch_norm=True)
    options = {"epochs": 1, "batch_size": 96, "trainable": "bn1.*", **SGD}
    train(model, FEW, weight_decay=5.0, **options)
    without = build("simple_conv", filters=2, fc=4, batch_norm=True)
    train(without, FEW, **options)
    assert torch.equal(model.bn1.weight, without.bn1.weight)


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_the_rate_of_each_step_depends_on_the_schedule_alone(schedule, monkeypatch):
    seen = []
    step = torch.optim.SGD.step
    monkeypatch.setattr(
        torch.optim.SGD, "step", lambda self: seen.append(self.param_groups[0]["lr"]) or step(self)
    )
    train(linear(), FEW, epochs=5, batch_size=48, schedule=schedule, **SGD)
    assert seen == pytest.approx([learning_rate(schedule, 0.1, done / 10) for done in range(10)])


def test_one_cycle_rises_to_the_peak_and_falls_to_zero():
    rates = [learning_rate("one_cycle", 1.0, done / 100) for done in range(101)]
    assert rates[0] == pytest.approx(1 / 25)
    assert max(rates) == rates[30] == 1.0
    assert rates[:31] == sorted(rates[:31])
    assert rates[30:] == sorted(rates[30:], reverse=True)
    assert rates[65] == pytest.approx(0.5)
    assert rates[100] == pytest.approx(0.0, abs=1e-12)


def test_sgd_in_one_cycle_learns_digits():
    data, test = load("mnist_subset", split="train", samples=1500), load("mnist_subset", samples=300)
    model = build("simple_conv", filters=8, fc=32, batch_norm=True)
    options = {"schedule": "one_cycle", "weight_decay": 5e-4, "label_smoothing": 0.1, **SGD}
    assert train(model, data, epochs=2, batch_size=64, test=test, **options).test_accuracy > 0.85


def test_new_settings_are_described_only_if_they_are_used():
    usual = train(linear(), FEW, epochs=1).settings
    given = train(linear(), FEW, epochs=1, weight_decay=5e-4, label_smoothing=0.1, **SGD).settings
    more = {"optimizer": "sgd", "weight_decay": 5e-4, "label_smoothing": 0.1}
    assert {name: value for name, value in given.items() if name not in usual} == more


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"optimizer": "sdg"}, r"unknown optimizer 'sdg'. Closest: 'sgd'"),
        ({"weight_decay": 0.1}, r"only supported by optimizer=\"sgd\"; got weight_decay=0\.1 with .*'adam'"),
        (
            {"optimizer": "sgd", "weight_decay": -1.0},
            r"must be at least 0.*got weight_decay=-1\.0",
        ),
        (
            {"label_smoothing": 1.0},
            r"must be at least 0 and below 1; got label_smoothing=1\.0",
        ),
    ],
)
def test_settings_that_cannot_be_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        train(linear(), FEW, epochs=1, **options)
