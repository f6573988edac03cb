"""Data sets, networks of the papers, training and weights.

    from invariscope import zoo

    data, test = zoo.load("mnist_subset", split="train"), zoo.load("mnist_subset")
    model = zoo.build("simple_conv", input_shape=data.shape, classes=len(data.classes))
    trained = zoo.train(model, data, epochs=3, augmentation=iv.Rotation.circle(360), test=test)

A new network is one new file in `invariscope.zoo.networks`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from invariscope.common import lazy
from invariscope.zoo.catalogue import DATASETS
from invariscope.zoo.corruptions import CORRUPTIONS, corrupted
from invariscope.zoo.datasets import load
from invariscope.zoo.epochs import Progress, evaluate
from invariscope.zoo.fitting import Training
from invariscope.zoo.image_data import ImageData
from invariscope.zoo.networks import NETWORKS, build, network, parameter_count
from invariscope.zoo.training import QUICK, train
from invariscope.zoo.weights import (
    Card,
    load_card,
    load_network,
    load_weights,
    round_to_float16,
    save_network,
)

if TYPE_CHECKING:
    from invariscope.lab.training.constant_filters import constant_filters
    from invariscope.lab.training.contrastive import contrastive, nt_xent
    from invariscope.lab.training.recognized import recognize_elements
    from invariscope.lab.training.scale_detection import scale_detection, unit_displacements

__getattr__ = lazy.attributes(
    __name__,
    {
        "invariscope.lab.training.constant_filters": ("constant_filters",),
        "invariscope.lab.training.contrastive": ("contrastive", "nt_xent"),
        "invariscope.lab.training.recognized": ("recognize_elements",),
        "invariscope.lab.training.scale_detection": ("scale_detection", "unit_displacements"),
    },
)

__all__ = [
    "CORRUPTIONS",
    "DATASETS",
    "NETWORKS",
    "QUICK",
    "Card",
    "ImageData",
    "Progress",
    "Training",
    "build",
    "constant_filters",
    "contrastive",
    "corrupted",
    "evaluate",
    "load",
    "load_card",
    "load_network",
    "load_weights",
    "network",
    "nt_xent",
    "parameter_count",
    "recognize_elements",
    "round_to_float16",
    "save_network",
    "scale_detection",
    "train",
    "unit_displacements",
]
