"""The whitening layer: what its filters do, that training fits it once and never changes it."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from invariscope.variants.randomized import randomized
from invariscope.zoo import build, load, train
from invariscope.zoo.whitening import WhiteningConv, whitening_filters

FEW = load("mnist_subset", split="train", samples=64)


def coloured(samples: int = 64) -> torch.Tensor:
    """Smooth images in three channels that are much alike."""
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(samples, 1, 14, 14, generator=generator)
    tints = torch.tensor([1.0, 0.8, -0.5]).view(1, 3, 1, 1)
    own = torch.randn(samples, 3, 14, 14, generator=generator)
    return functional.avg_pool2d(noise * tints + 0.5 * own, 3, stride=1)


def second_moments(filters: torch.Tensor, images: torch.Tensor) -> torch.Tensor:
    responses = functional.conv2d(images, filters).double().transpose(0, 1).flatten(1)
    return responses @ responses.T / responses.shape[1]


def test_responses_to_patches_are_uncorrelated_and_of_equal_size():
    images = coloured()
    filters = whitening_filters(images, 2)
    found = second_moments(filters, images)
    assert filters.shape == (12, 3, 2, 2)
    variances = second_moments(torch.eye(12).view(12, 3, 2, 2), images)
    floored = torch.linalg.eigvalsh(variances).flip(0)
    torch.testing.assert_close(found, torch.diag(floored / (floored + 5e-4)), atol=1e-4, rtol=0)


def test_the_largest_entry_of_each_filter_is_positive():
    filters = whitening_filters(coloured(), 2).flatten(1)
    assert (filters.gather(1, filters.abs().argmax(1, keepdim=True)) > 0).all()


def test_training_fits_the_layer_to_its_images_and_leaves_the_filters():
    model = build("airbench", width=4)
    drawn, biases = model.whiten.weight.clone(), model.whiten.bias.detach().clone()
    train(model, FEW, epochs=2, batch_size=32, optimizer="sgd", lr=0.05, weight_decay=0.1, ema=0.9)
    filters = whitening_filters(FEW.images, 2)
    assert torch.equal(model.whiten.weight, torch.cat([filters, -filters]))
    assert not torch.equal(model.whiten.weight, drawn)
    assert not torch.equal(model.whiten.bias, biases)
    assert "whiten.weight" not in dict(model.named_parameters())


def test_a_fitted_layer_stays_as_it_is_in_further_training():
    model = build("airbench", width=4)
    train(model, FEW, epochs=1)
    before = model.whiten.weight.clone()
    train(model, (FEW.images.flip(2) ** 2, FEW.labels), epochs=1)
    assert torch.equal(model.whiten.weight, before)


def test_a_resumed_training_starts_from_the_weights_that_were_given(tmp_path):
    options = {"epochs": 2, "batch_size": 32, "ema": 0.9}
    whole, parted, resumed = (build("airbench", width=4) for _ in range(3))
    train(whole, FEW, **options)

    def stop(at) -> None:
        if at.epoch == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(parted, FEW, checkpoint=tmp_path / "at", progress=stop, **options)
    train(resumed, FEW, checkpoint=tmp_path / "at", **options)
    for name, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name])


def test_many_images_are_taken_evenly_spaced(monkeypatch):
    monkeypatch.setattr("invariscope.zoo.whitening.IMAGES", 20)
    torch.manual_seed(0)
    layer, images = WhiteningConv(3, 2), coloured(61)
    layer.fit(images)
    assert torch.equal(layer.weight[:12], whitening_filters(images[::4], 2))


def test_new_random_weights_have_random_filters_that_are_not_fitted():
    model = build("airbench", width=4)
    train(model, FEW, epochs=1)
    fresh = randomized(model, seed=1).whiten
    assert model.whiten.fitted
    assert not fresh.fitted
    assert not torch.equal(fresh.weight, model.whiten.weight)
