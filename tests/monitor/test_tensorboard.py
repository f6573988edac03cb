"""What TensorBoard reads from the event files is what the monitor's table and maps hold."""

from __future__ import annotations

import io
import sys

import numpy as np
import pytest
import torch
from matplotlib.image import imread
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import nn
from torch.utils.tensorboard import SummaryWriter

import invariscope as iv
from invariscope import zoo
from invariscope.loggers import COLUMNS
from invariscope.loggers.scalars import pixels
from invariscope.monitor import Monitor, TensorBoardWriter
from invariscope.plots import draw

DIGITS = zoo.load("mnist_subset", samples=72)


class Shared(nn.Module):
    """A network that runs one module twice."""

    def __init__(self):
        super().__init__()
        self.conv1, self.relu, self.conv2 = nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Conv2d(2, 10, 3)

    def forward(self, x):
        return self.relu(self.conv2(self.relu(self.conv1(x)))).mean((2, 3))


@pytest.fixture(scope="module")
def monitored(tmp_path_factory):
    """A monitor of two epochs with classes, and the events read back."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("events")
    with TensorBoardWriter(folder) as writer:
        monitor = Monitor(
            DIGITS, iv.Rotation.circle(4), measures=["normalized_variance", "prediction"], by_class=True,
            every=2, writers=[writer],
        )  # fmt: skip
        for epoch in (0, 2):
            monitor(Shared(), epoch)  # other weights each time
    events = EventAccumulator(str(folder), size_guidance={"scalars": 0, "images": 0}).Reload()
    return monitor, events


def tag_of(row, column: str) -> str:
    measure = row["measure"] if column == "value" else f"{row['measure']}.{column}"
    layer = f"{row['layer']}, call {row['call']}" if row["call"] else row["layer"]
    return f"{measure}/{layer}" if row["stratum"] == "all" else f"{measure}/{layer}/{row['stratum']}"


def finite(frame, tag, step: int) -> dict:
    """Every finite number of the columns that are written, by tag and step."""
    return {
        (tag(row, column), step): row[column]
        for row in frame.to_dict("records")
        for column in COLUMNS
        if column in row and np.isfinite(row[column])
    }


def test_every_finite_number_of_table_and_curves_is_read_back_at_its_epoch(monitored):
    monitor, events = monitored
    wanted = {}
    for epoch, result in monitor.results.items():
        wanted |= finite(result.table, tag_of, epoch)
        wanted |= finite(result.curves, lambda r, c: f"curve/{tag_of(r, c)}/{r['element']}", epoch)
    found = {
        (tag, event.step): event.value for tag in events.Tags()["scalars"] for event in events.Scalars(tag)
    }
    assert found == {key: float(np.float32(value)) for key, value in wanted.items()}
    assert {step for _, step in found} == {0, 2}
    tags = {tag for tag, _ in found}
    assert {"normalized_variance/relu, call 1", "curve/prediction.accuracy/output/3"} <= tags
    assert {"normalized_variance.ci_low/conv1", "normalized_variance.null/conv1"} <= tags


def test_the_images_are_the_heat_maps_of_each_epoch(monitored):
    monitor, events = monitored
    assert events.Tags()["images"] == ["normalized_variance/units"]
    images = events.Images("normalized_variance/units")
    assert [image.step for image in images] == [0, 2]
    decoded = [imread(io.BytesIO(image.encoded_image_string)) for image in images]
    for image, result in zip(decoded, monitor.results.values(), strict=True):
        wanted = pixels(draw("unit_heatmap", result, measure="normalized_variance"))
        np.testing.assert_array_equal(np.round(image * 255).astype(np.uint8), wanted)
    assert not np.array_equal(*decoded)


def test_heat_maps_can_be_left_out(tmp_path):
    torch.manual_seed(0)
    with TensorBoardWriter(tmp_path, images=False) as writer:
        Monitor(DIGITS, iv.QuarterTurns(), writers=[writer])(Shared(), 0)
    tags = EventAccumulator(str(tmp_path)).Reload().Tags()
    assert tags["images"] == []
    assert "normalized_variance/conv1" in tags["scalars"]


def test_a_saved_history_is_written_afterwards_like_a_running_one(monitored, tmp_path):
    monitor, events = monitored
    with TensorBoardWriter(tmp_path, images=False) as writer:
        for epoch, result in monitor.results.items():
            writer(epoch, result)
    again = EventAccumulator(str(tmp_path), size_guidance={"scalars": 0}).Reload()
    assert again.Tags()["scalars"] == events.Tags()["scalars"]


def test_without_tensorboard_the_error_names_the_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(ImportError, match=r"pip install 'invariscope\[tensorboard\]'"):
        TensorBoardWriter(tmp_path)


def test_an_open_writer_stays_open_and_columns_are_chosen(monitored, tmp_path):
    monitor, _ = monitored
    events = SummaryWriter(tmp_path)
    with TensorBoardWriter(events, columns=["null"], curves=False, images=False) as writer:
        writer(0, monitor.results[0])
    events.add_scalar("loss", 0.5, 0)
    events.close()
    tags = EventAccumulator(str(tmp_path)).Reload().Tags()["scalars"]
    nulls = {
        "normalized_variance.null",
        "prediction.flips.null",
    }  # all samples get one class
    assert {tag.partition("/")[0] for tag in tags} == {*nulls, "loss"}
