"""Models from timm, with their data configuration."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from invariscope.cli.images import ResizeCropNormalize
from invariscope.cli.named import Named, optional_package
from invariscope.common.registry import unknown

if TYPE_CHECKING:
    from invariscope.cli.named import Request

_MODES = {"bilinear": "bilinear", "bicubic": "bicubic", "random": "bilinear"}
_CROPS = ("center", "squash")


def load_timm(name: str, request: Request) -> Named:
    """Load a timm model, with preprocessing from its data configuration.

    Args:
        name: an architecture, an architecture and a weights tag joined by a dot, or an `hf-hub:` or
            `local-dir:` name as in timm.
        request: requirements for loading.
    Raises:
        ValueError: an unknown name or tag, no published weights, or an unsupported data configuration.
        ImportError: timm is missing.
    """
    timm = optional_package("timm", "timm")
    # A tag after a dot names one of several sets of weights for an architecture.
    if ":" not in name and not timm.is_model(name.split(".")[0]):
        raise unknown("timm model", name, timm.list_models())
    try:
        model = timm.create_model(name, pretrained=not request.bare)
    except RuntimeError as error:
        raise ValueError(f"timm cannot load {name}: {error}") from error
    except OSError as error:
        raise OSError(
            f"timm cannot load the weights of {name}: {error} Without a network, give them as a file: "
            "--weights FILE, or timm:local-dir:FOLDER"
        ) from error
    preprocess = _preprocess(model) if request.preprocess else None
    return Named(model, name, request.bare, preprocess=preprocess)


def _preprocess(model: Any) -> ResizeCropNormalize:
    config = optional_package("timm.data", "timm").resolve_data_config({}, model=model)
    for name, known in (("interpolation", _MODES), ("crop_mode", _CROPS)):
        if config[name] not in known:
            raise ValueError(
                f"the model's data configuration has {name} {config[name]!r}, but only {', '.join(known)} "
                "are supported: give --preprocess file.py:function, or --preprocess none"
            )
    crop = tuple(config["input_size"][1:])
    return ResizeCropNormalize(
        scale=tuple(math.floor(side / config["crop_pct"]) for side in crop),  # type: ignore[arg-type]
        crop=crop,
        mean=tuple(config["mean"]),
        std=tuple(config["std"]),
        mode=_MODES[config["interpolation"]],
        squash=config["crop_mode"] == "squash",
    )
