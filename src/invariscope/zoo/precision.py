"""Choose the faster precision by timing a few steps."""

from __future__ import annotations

import copy
import time
from pathlib import Path

import torch
from torch import Tensor, nn

from invariscope.zoo.checkpoint import checkpoint_settings
from invariscope.zoo.epochs import forward, seeded

# bfloat16 has only 8 bits of precision, so the gain must exceed the noise of the timing.
GAIN, ROUNDS, IMAGES = 1.2, 3, 64


def chosen_precision(
    model: nn.Module, images: Tensor, *, channels_last: bool, checkpoint: Path | None
) -> str:
    """Return "bf16" if a training step is at least 1.2 times as fast with it on this machine, else "float32".

    A resumed run keeps its precision.

    Args:
        model: not changed; a copy is timed.
        images: training images, on any device; up to 64 of them are used.
        channels_last: the memory format of the training run.
        checkpoint: the checkpoint of the training run, if there is one.
    """
    if checkpoint is not None and checkpoint.exists():
        return str(checkpoint_settings(checkpoint).get("precision", "float32"))
    seconds = step_seconds(model, images[:IMAGES], channels_last=channels_last)
    return "bf16" if seconds["bf16"] * GAIN <= seconds["float32"] else "float32"


def step_seconds(model: nn.Module, images: Tensor, *, channels_last: bool = False) -> dict[str, float]:
    """Return the seconds of the fastest of three forward and backward passes, per precision.

    >>> _ = torch.manual_seed(0)
    >>> sorted(step_seconds(nn.Linear(4, 2), torch.ones(8, 4)))
    ['bf16', 'float32']
    """
    tried = copy.deepcopy(model).train()
    device = next(tried.parameters()).device
    images = images.to(device)
    fastest = {"float32": float("inf"), "bf16": float("inf")}
    with seeded(0, device):
        for turn in range(ROUNDS + 1):
            for precision in fastest:
                taken = _step_seconds(tried, images, precision, channels_last)
                if turn:  # the first pass compiles and allocates
                    fastest[precision] = min(fastest[precision], taken)
    return fastest


def _step_seconds(model: nn.Module, images: Tensor, precision: str, channels_last: bool) -> float:
    _wait(images.device)
    started = time.perf_counter()
    forward(model, images, precision=precision, channels_last=channels_last).square().mean().backward()
    _wait(images.device)
    return time.perf_counter() - started


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
