"""Telling elements apart: the loss by hand, what it makes of features, and that it repeats and resumes."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

import invariscope as iv
from invariscope.lab.training.recognized import ElementRecognition
from invariscope.zoo import build, evaluate, load, recognize_elements, train

FEW = load("mnist_subset", split="train", samples=256).standardized()


def encoder(seed: int = 0) -> nn.Module:
    return build("simple_conv", filters=4, fc=16, seed=seed)


def test_the_loss_is_the_mean_cross_entropy_over_images_and_elements():
    torch.manual_seed(0)
    images = torch.arange(8.0).reshape(2, 1, 2, 2)
    top_left = nn.Sequential(nn.Flatten(), nn.Linear(4, 4, bias=False))
    top_left[1].weight.data = torch.zeros(4, 4)
    top_left[1].weight.data[2, 0] = 1.0  # the third score is the pixel at the top left, the others 0
    loss, right = ElementRecognition(iv.QuarterTurns())(top_left, images, torch.zeros(2), torch.Generator())
    expected = []
    for image in images.numpy()[:, 0]:
        for turns, corner in enumerate((image[0, 0], image[0, 1], image[1, 1], image[1, 0])):
            scores = [0.0, 0.0, corner, 0.0]
            expected.append(math.log(sum(map(math.exp, scores))) - scores[turns])
    assert loss.item() == pytest.approx(sum(expected) / 8, rel=1e-6)
    assert right == 0


def test_features_learn_to_tell_the_elements_apart_and_become_less_invariant():
    model, turns = encoder(), iv.QuarterTurns()

    def deviation() -> float:
        measures = iv.EquivarianceDeviation()
        result = iv.measure(model, FEW, turns, measures=measures, layers="fc1_relu", progress=False)
        table = result.table.set_index("measure")
        return float(table.loc["equivariance_deviation.latent.to_null", "value"])

    before = deviation()
    trained = recognize_elements(model, FEW, epochs=8, transform=turns, lr=3e-3)
    assert trained.history[-1]["loss"] < 0.7 * trained.history[0]["loss"]
    assert trained.accuracy > 0.3  # all four of an image; 1/256 by chance
    assert trained.settings["recognized"]["family"] == "quarter_turns"
    assert deviation() > before


def test_the_head_stays_and_a_probe_trains_it_alone():
    model = encoder()
    head = {name: value.clone() for name, value in model.state_dict().items() if name.startswith("fc2")}
    recognize_elements(model, FEW, epochs=8, transform=iv.QuarterTurns(), lr=3e-3)
    assert all(torch.equal(model.state_dict()[name], value) for name, value in head.items())
    train(model, FEW, epochs=20, trainable="head", lr=3e-2)
    assert evaluate(model, FEW) > 0.25  # 0.1 by chance


def test_a_training_repeats_and_resumes(tmp_path):
    options = {"transform": iv.QuarterTurns(), "batch_size": 64, "lr": 3e-3}
    whole, part, resumed = encoder(), encoder(), encoder()
    recognize_elements(whole, FEW, epochs=2, **options)
    recognize_elements(part, FEW, epochs=1, checkpoint=tmp_path / "a.safetensors", **options)
    recognize_elements(resumed, FEW, epochs=2, checkpoint=tmp_path / "a.safetensors", **options)
    for mine, theirs in zip(whole.parameters(), resumed.parameters(), strict=True):
        assert torch.equal(mine, theirs)


@pytest.mark.parametrize(
    "transform", [iv.Rotation.uniform(4), iv.Rotation([0]), iv.RandomPermutations(3)], ids=repr
)
def test_elements_that_cannot_be_told_apart_are_refused(transform):
    with pytest.raises(ValueError, match="two or more elements, the same for every image"):
        recognize_elements(encoder(), FEW, epochs=1, transform=transform)


def test_a_network_without_a_linear_layer_is_refused():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 2, 28), nn.Flatten())
    with pytest.raises(ValueError, match="recognised from the input of the last linear layer"):
        recognize_elements(model, FEW, epochs=1, transform=iv.QuarterTurns())
