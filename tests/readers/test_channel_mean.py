"""Channel means in place of feature maps, for every measure."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import invariscope as iv
from invariscope.readers import ChannelMean, TorchReader
from invariscope.zoo import build

IMAGES = torch.rand(12, 1, 8, 8, generator=torch.Generator().manual_seed(0))
torch.manual_seed(0)
MODEL = nn.Sequential(nn.Conv2d(1, 3, 3), nn.Dropout(0.5), nn.ReLU(), nn.Flatten(), nn.Linear(108, 2))


def readings(reader, x):
    found = []
    with reader.open() as forward:
        output = forward(x, lambda r: found.append((r, None if r.values is None else r.values.clone())))
    return output, found


def test_the_values_are_means_over_channels_and_the_prediction_is_the_models_own():
    output, found = readings(ChannelMean(MODEL), IMAGES)
    values = {reading.layer: value for reading, value in found}
    with torch.no_grad():
        maps = MODEL[0](IMAGES)
        torch.testing.assert_close(values["0"], maps.mean(1))
        torch.testing.assert_close(values["2"], maps.relu().mean(1))
        torch.testing.assert_close(output, MODEL.eval()(IMAGES))


def test_layers_without_places_are_listed_as_skipped_with_the_reason():
    inspection = ChannelMean(MODEL).inspect(IMAGES)
    said = {info.layer: (info.shape, info.status) for info in inspection.layers}
    assert said["0"] == ((6, 6), "ok")
    assert said["4"] == ((2,), "no channels to average: a sample has shape (2,)")
    assert inspection.output is not None
    assert inspection.output.shape == (2,)
    _, found = readings(ChannelMean(MODEL), IMAGES)
    assert {r.layer for r, value in found if value is None} == {"3", "4"}


def test_a_repeated_map_stays_one_and_a_regrouped_one_does_not():
    torch.manual_seed(0)

    class Regrouped(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.drop = nn.Conv2d(1, 4, 3), nn.Dropout()
            self.grouped = nn.Unflatten(1, (2, 2))

        def forward(self, x):
            return self.grouped(self.drop(self.conv(x)))

    model = Regrouped().eval()
    plain = {info.layer: info.alias_of for info in TorchReader(model).inspect(IMAGES).layers}
    mean = {info.layer: info for info in ChannelMean(model).inspect(IMAGES).layers}
    assert plain["drop"] == ("conv", 0)
    assert plain["grouped"] is not None
    assert mean["drop"].alias_of == plain["drop"]
    assert mean["grouped"].alias_of is None
    _, found = readings(ChannelMean(model), IMAGES)
    read = {reading.layer: (reading, value) for reading, value in found}
    assert read["drop"][0].alias_of == ("conv", 0)
    assert read["grouped"][0].alias_of is None
    torch.testing.assert_close(read["grouped"][1], model(IMAGES).detach().mean(1))


def test_the_axis_of_the_channels_can_be_another():
    torch.manual_seed(0)
    values = torch.rand(5, 4, 3)
    _, found = readings(ChannelMean(lambda x: {"tokens": x}, axis=-1), values)
    torch.testing.assert_close(found[0][1], values.mean(-1))
    (info,) = ChannelMean(lambda x: {"tokens": x}, axis=2).inspect(values).layers
    assert info.status == "no axis 2 in a sample of shape (4, 3)"


def test_a_measure_of_channel_means_is_that_of_a_model_that_returns_them():
    model = build("min_cnn", input_shape=(1, 8, 8), filters=5, kernel_size=3).eval()

    def by_hand(x):
        with torch.no_grad():
            return {"relu": model.relu(model.conv(x)).mean(1)}

    options = {"measures": "stability", "intervals": False, "progress": False}
    moved = iv.Translation.grid(1)
    one = iv.measure(ChannelMean(model, layers="relu"), IMAGES, moved, **options).table
    two = iv.measure(by_hand, IMAGES, moved, **options).table
    np.testing.assert_allclose(one["value"], two["value"], rtol=1e-5)
    assert len(one) == 3


def test_opposite_channels_cancel_in_the_mean_alone():
    def model(x):
        return {"maps": torch.cat([x, -0.9 * x], dim=1)}

    options = {"measures": "transformation_variance", "intervals": False, "progress": False}
    plain = iv.measure(model, IMAGES, iv.QuarterTurns(), **options).table["value"][0]
    mean = iv.measure(ChannelMean(model), IMAGES, iv.QuarterTurns(), **options).table["value"][0]
    assert mean / plain == pytest.approx(0.05**2 / ((1 + 0.9**2) / 2), rel=1e-4)


def test_the_name_says_what_is_read_and_modules_are_never_taken_unasked():
    assert ChannelMean(MODEL).name == "Sequential, channel means"
    assert ChannelMean(MODEL).fingerprint() == TorchReader(MODEL).fingerprint()
    assert isinstance(iv.readers.as_reader(MODEL), TorchReader)
    with pytest.raises(TypeError, match="cannot read a int"):
        ChannelMean(3)
