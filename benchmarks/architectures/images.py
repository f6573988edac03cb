"""Define timm's image models: convolutional, attention, mixing and recurrent models."""

from __future__ import annotations

import importlib
from typing import Any

from torch import nn

from benchmarks.architectures.catalogue import IMAGE_ELEMENTS, Architecture, noise
from benchmarks.architectures.torchvision_names import import_timm

SMALL = {"img_size": 32, "patch_size": 8}


def registered(name: str, size: int = 32, **settings: Any) -> Architecture:
    """Return a model by its registered name."""

    def build() -> nn.Module:
        return import_timm().create_model(name, pretrained=False, num_classes=5, **settings)

    return Architecture("timm", name, build, noise(3, size, size), IMAGE_ELEMENTS)


def assembled(module: str, name: str, **settings: Any) -> Architecture:
    """Return a model built from its class, for models whose registered variants have fixed sizes."""

    def build() -> nn.Module:
        import_timm()
        return getattr(importlib.import_module(f"timm.models.{module}"), name)(num_classes=5, **settings)

    return Architecture("timm", name, build, noise(3, 32, 32), IMAGE_ELEMENTS)


def images() -> list[Architecture]:
    """Return all image models."""
    return [
        registered("vit_tiny_patch16_224", **SMALL, embed_dim=32, depth=2, num_heads=4),
        registered("cait_xxs24_224", **SMALL, embed_dim=32, depth=2, num_heads=4),
        registered("xcit_nano_12_p16_224", img_size=32, depth=2, embed_dim=32, num_heads=4),
        assembled("mlp_mixer", "MlpMixer", **SMALL, embed_dim=32, num_blocks=2),
        assembled("convmixer", "ConvMixer", dim=32, depth=2),
        registered("swin_tiny_patch4_window7_224", img_size=64, size=64, **_SWIN),
        registered("twins_svt_small", img_size=64, size=64, **_TWINS),
        registered("crossvit_tiny_240", 240, depth=((1, 1, 0),), embed_dim=(16, 32), num_heads=(2, 4)),
        registered(
            "coat_lite_tiny", 64, img_size=64, embed_dims=(16, 24, 32, 40), serial_depths=(1, 1, 1, 1)
        ),
        registered("levit_128s", 64, img_size=64),
        registered("edgenext_xx_small", 64),
        registered("efficientvit_b0", 64),
        registered("mambaout_femto", 64, dims=(8, 16, 24, 32), depths=(1, 1, 1, 1)),
        registered("sequencer2d_s", 64, img_size=64, layers=(1, 1, 1, 1), embed_dims=(16, 32, 32, 32)),
        registered("convnext_atto", dims=(8, 16, 24, 32), depths=(1, 1, 1, 1)),
        registered("resnet10t"),
        registered("skresnet18"),
        registered("regnetx_002"),
        registered("nf_regnet_b0", 64),
        registered("densenet121", growth_rate=8, block_config=(2, 2, 2, 2)),
        registered("dla46_c"),
        registered("mobilenetv3_small_050"),
        registered("ghostnet_050"),
        registered("lcnet_035"),
        registered("fastvit_t8", 64, layers=(1, 1, 1, 1), embed_dims=(8, 16, 32, 64)),
    ]


_SWIN = {"embed_dim": 16, "depths": (2, 2), "num_heads": (2, 4), "window_size": 4}
_TWINS = {"embed_dims": (16, 16, 32, 32), "depths": (1, 1, 1, 1), "num_heads": (1, 2, 2, 4)}
