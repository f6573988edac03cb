"""`precision="auto"` takes bfloat16 only if it is clearly faster, and stays with its choice."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from invariscope.zoo import build, load, train
from invariscope.zoo.precision import step_seconds

FEW = load("mnist_subset", split="train", samples=64)


def small() -> nn.Module:
    return build("simple_conv", filters=2, fc=4, batch_norm=True)


@pytest.fixture
def timed(monkeypatch):
    """Makes the timing say what it is told, and counts how often it is asked."""
    asked = []

    def says(float32: float, bf16: float) -> list[int]:
        def seconds(model, images, *, channels_last):
            asked.append(len(images))
            return {"float32": float32, "bf16": bf16}

        monkeypatch.setattr("invariscope.zoo.precision.step_seconds", seconds)
        return asked

    return says


@pytest.mark.parametrize(
    ("float32", "bf16", "chosen"), [(1.0, 0.3, "bf16"), (1.0, 0.9, "float32"), (1.0, 8.0, "float32")]
)
def test_bf16_is_chosen_only_if_it_is_clearly_faster(timed, float32, bf16, chosen):
    timed(float32, bf16)
    automatic, told = small(), small()
    assert train(automatic, FEW, epochs=1, precision="auto").settings["precision"] == chosen
    train(told, FEW, epochs=1, precision=chosen)
    assert all(torch.equal(p, q) for p, q in zip(automatic.parameters(), told.parameters(), strict=True))


def test_a_resumed_training_keeps_its_precision_whatever_the_timing_would_say(tmp_path, timed):
    asked = timed(1.0, 0.3)
    options = {"precision": "auto", "checkpoint": tmp_path / "at"}
    train(small(), FEW, epochs=1, **options)
    timed(1.0, 8.0)
    assert train(small(), FEW, epochs=2, **options).settings["precision"] == "bf16"
    assert asked == [64]


def test_timing_leaves_model_and_generators_alone():
    model = nn.Sequential(small(), nn.Dropout(0.5)).eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    state = torch.get_rng_state()
    seconds = step_seconds(model, FEW.images[:8], channels_last=True)
    assert all(value > 0 for value in seconds.values())
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert not model.training
    assert all(p.grad is None for p in model.parameters())
