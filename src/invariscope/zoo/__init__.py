"""Data sets, the papers' networks, training and weights.

    from invariscope import zoo

    data, test = zoo.load("mnist_subset", split="train"), zoo.load("mnist_subset")
    model = zoo.build("simple_conv", input_shape=data.shape, classes=len(data.classes))
    trained = zoo.train(model, data, epochs=3, augmentation=iv.Rotation.circle(360), test=test)

A new network is one new file in `invariscope.zoo.networks`.
"""

from invariscope.zoo.catalogue import DATASETS
from invariscope.zoo.constant_filters import constant_filters
from invariscope.zoo.contrastive import contrastive, nt_xent
from invariscope.zoo.corruptions import CORRUPTIONS, corrupted
from invariscope.zoo.course import Training
from invariscope.zoo.datasets import load
from invariscope.zoo.epochs import Progress, evaluate
from invariscope.zoo.image_data import ImageData
from invariscope.zoo.networks import NETWORKS, build, network, parameter_count
from invariscope.zoo.recognized import recognize_elements
from invariscope.zoo.scale_detection import scale_detection, unit_displacements
from invariscope.zoo.training import QUICK, train
from invariscope.zoo.weights import (
    Card,
    load_card,
    load_network,
    load_weights,
    round_to_float16,
    save_network,
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
