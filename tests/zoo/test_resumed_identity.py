"""A training run is resumed only with the same network and images, whatever their bytes."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from invariscope.zoo import load, train
from invariscope.zoo.checkpoint import _refuse_other

pytestmark = pytest.mark.usefixtures("seeded")
FEW = load("mnist_subset", split="train", samples=32)
SIZE = FEW.images[0].numel()


def net(slope: float = 0.1, dropout: float = 0.0) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Flatten(), nn.Linear(SIZE, 8), nn.LeakyReLU(slope), nn.Dropout(dropout), nn.Linear(8, 10)
    )


def interrupted(file: Path) -> None:
    def stop(at: Any) -> None:
        if at.epoch == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(net(), FEW, epochs=3, batch_size=16, checkpoint=file, progress=stop)


@pytest.mark.parametrize("change", [{"slope": 0.9}, {"dropout": 0.5}])
def test_another_network_with_the_same_weights_is_refused(change, tmp_path):
    interrupted(tmp_path / "at")
    with pytest.raises(ValueError, match="the network's weights, configuration or code differ"):
        train(net(**change), FEW, epochs=3, batch_size=16, checkpoint=tmp_path / "at")
    train(net(), FEW, epochs=3, batch_size=16, checkpoint=tmp_path / "at")


def test_the_same_bytes_in_another_shape_are_refused(tmp_path):
    interrupted(tmp_path / "at")
    flat = replace(FEW, images=FEW.images.reshape(32, 1, 1, SIZE))
    with pytest.raises(ValueError, match="shape is "):
        train(net(), flat, epochs=3, batch_size=16, checkpoint=tmp_path / "at")


def test_a_checkpoint_of_an_earlier_version_has_no_digest_of_the_network():
    wanted = json.loads(json.dumps({"lr": 0.1, "network": "ab", "shape": [1, 2]}))
    _refuse_other(Path("at"), wanted, {"lr": 0.1})
    with pytest.raises(ValueError, match=r"lr is 0\.2 there and 0\.1 now"):
        _refuse_other(Path("at"), wanted, {"lr": 0.2})
