"""Receptive fields by arithmetic, by gradient, and by trying every pixel."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from invariscope import zoo
from invariscope.anatomy.partial_forward import up_to
from invariscope.anatomy.receptive_field import ReceptiveField, receptive_field

pytestmark = pytest.mark.usefixtures("seeded")

VGG11 = (64, "M", 128, "M", 256, 256, "M")


class Vgg(nn.Module):
    """The first half of VGG11 with batch normalisation, named as in torchvision, a 16th as wide."""

    def __init__(self, plan=VGG11, width=16):
        super().__init__()
        layers, channels = [], 3
        for entry in plan:
            if entry == "M":
                layers.append(nn.MaxPool2d(2))
            else:
                out = entry // width
                layers += [nn.Conv2d(channels, out, 3, padding=1), nn.BatchNorm2d(out), nn.ReLU(inplace=True)]
                channels = out
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Linear(channels * 16, 10)

    def forward(self, x):
        return self.classifier(self.features(x).flatten(1))


class Residual(nn.Module):
    """A block with a functional ReLU and an in-place sum, of which no module tells."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(1, 4, 5, stride=2, padding=2)
        self.second = nn.Conv2d(4, 4, 3, padding=1)
        self.last = nn.ReLU6()

    def forward(self, x):
        x = nn.functional.relu(self.first(x))
        y = self.second(x)
        y += x
        return self.last(y)


def seen_by_trying(model, layer, shape, unit):
    """Per axis, first and last pixel that change the unit's response when they are changed."""
    torch.manual_seed(0)
    x = torch.rand(1, *shape, dtype=torch.float64)
    places = [(i, j) for i in range(shape[1]) for j in range(shape[2])]
    changed = x.repeat(len(places), 1, 1, 1)
    for row, (i, j) in enumerate(places):
        changed[row, :, i, j] += 30.0
    with up_to(model.double(), layer) as run, torch.no_grad():
        moved = (run(changed) - run(x))[(slice(None), slice(None), *unit)].abs().amax(dim=1) > 0
    hit = np.array(places)[moved.numpy()]
    return list(zip(hit.min(axis=0), hit.max(axis=0), strict=True))


@pytest.mark.parametrize("method", ["analytic", "gradient"])
def test_the_tenth_feature_of_vgg11_sees_18_pixels_4_apart_from_one_and_a_half(method):
    found = receptive_field(Vgg(), "features.10", (3, 32, 32), method=method)
    assert found == ReceptiveField((18, 18), (4, 4), (1.5, 1.5), method)
    assert found.first_start == (-7, -7)
    assert found.interior((32, 20)) == (range(2, 6), range(2, 3))


@given(
    kernel=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    stride=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    dilation=st.tuples(st.integers(1, 2), st.integers(1, 2)),
    padding=st.tuples(st.integers(0, 2), st.integers(0, 2)),
    pool=st.sampled_from([nn.MaxPool2d, nn.AvgPool2d]),
    window=st.integers(1, 3),
)
@settings(max_examples=20)
def test_arithmetic_gradient_and_trial_agree_on_odd_stacks(kernel, stride, dilation, padding, pool, window):
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.ZeroPad2d((1, 0, 2, 0)),
        nn.Conv2d(2, 16, kernel, stride, padding, dilation),
        nn.Tanh(),
        pool(window, 2),
        nn.Conv2d(16, 16, (2, 3), bias=False),
    )
    whole = receptive_field(model, "4", (2, 40, 44), method="analytic")
    assert receptive_field(model, "4", (2, 40, 44), method="gradient") == ReceptiveField(
        whole.size, whole.jump, whole.first_centre, "gradient"
    )


@pytest.mark.parametrize("layer", ["conv3", "relu4", "pool2"])
def test_trying_every_pixel_finds_the_window_that_arithmetic_gives(layer):
    torch.manual_seed(0)
    model = zoo.build("simple_conv", filters=6, fc=8)
    field = receptive_field(model, layer, (1, 28, 28))
    units = tuple(inside[len(inside) // 2] for inside in field.interior((28, 28)))
    expected = [
        (start + unit * jump, start + unit * jump + size - 1)
        for start, unit, jump, size in zip(field.first_start, units, field.jump, field.size, strict=True)
    ]
    assert seen_by_trying(model, layer, (1, 28, 28), units) == expected


def test_if_operations_are_not_modules_the_gradient_answers_and_arithmetic_refuses():
    found = receptive_field(Residual(), "last", (1, 16, 16))
    assert found == ReceptiveField((9, 9), (2, 2), (0.0, 0.0), "gradient")
    with pytest.raises(ValueError, match="is not a chain of convolutions"):
        receptive_field(Residual(), "last", (1, 16, 16), method="analytic")


def test_a_window_larger_than_the_image_is_found_on_a_larger_image():
    assert receptive_field(Vgg(), "features.10", (3, 12, 12), method="gradient").size == (18, 18)


def test_sequences_have_windows_too():
    model = nn.Sequential(nn.Conv1d(2, 3, 5, padding=2), nn.MaxPool1d(2), nn.Conv1d(3, 3, 3))
    for method in ("analytic", "gradient"):
        found = receptive_field(model, "2", (2, 30), method=method)
        assert (found.size, found.jump, found.first_centre) == ((10,), (2,), (2.5,))


def test_padding_same_starts_where_torch_puts_it():
    model = nn.Sequential(nn.Conv1d(1, 1, 3, padding="same", dilation=3), nn.Identity())
    assert receptive_field(model, "1", (1, 20)).first_centre == (0.0,)


torch.manual_seed(0)


@pytest.mark.parametrize(
    ("model", "layer", "message"),
    [
        (Vgg(), "classifier", r"'classifier' has no receptive field: its output of shape \(10,\)"),
        (nn.Sequential(nn.Conv2d(3, 4, 3), nn.GroupNorm(2, 4)), "1", "its units see the whole image"),
        (nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(3)), "1", "whole image|no common"),
        (
            nn.Sequential(nn.Conv2d(3, 4, 3), nn.Upsample(scale_factor=2)),
            "1",
            "have no common receptive field",
        ),
        (Vgg(), "featuers.10", r"unknown layer 'featuers\.10'\. Closest: 'features\.10'"),
        (nn.Sequential(nn.Flatten(2), nn.LSTM(1024, 2)), "1", "'1' returns a tuple instead of a tensor"),
    ],
)
def test_layers_without_a_window_are_refused_with_the_reason(model, layer, message):
    with pytest.raises(ValueError, match=message):
        receptive_field(model, layer, (3, 32, 32))


def test_other_wrong_arguments_say_what_came():
    with pytest.raises(ValueError, match=r"unknown method 'gradients'\. Closest: 'gradient'"):
        receptive_field(Vgg(), "features.0", (3, 32, 32), method="gradients")
    with pytest.raises(ValueError, match=r"channels first, such as .* got \(32,\)"):
        receptive_field(Vgg(), "features.0", (32,))
    with pytest.raises(TypeError, match="got function"):
        receptive_field(lambda x: x, "features.0", (3, 32, 32))


def test_the_model_is_untouched_and_a_layer_is_read_before_an_in_place_operation_overwrites_it():
    model = Vgg().train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    receptive_field(model, "features.10", (3, 32, 32), method="gradient")
    receptive_field(model, "features.10", (3, 32, 32), method="analytic")
    with up_to(model, "features.1") as run, torch.no_grad():
        assert (run(torch.randn(2, 3, 32, 32)) < 0).any()
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert model.training
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


def test_a_layer_that_never_runs_is_refused():
    model = Vgg()
    model.spare = nn.Conv2d(1, 1, 1)
    with up_to(model, "spare") as run, pytest.raises(ValueError, match="never runs layer 'spare'"):
        run(torch.rand(1, 3, 32, 32))
