"""The description of the machine that a cell ran on."""

from __future__ import annotations

import functools
import os
import platform
from pathlib import Path
from typing import Any

_CPU_FACTS = Path("/proc/cpuinfo")


@functools.cache
def machine(device: str = "cpu") -> dict[str, Any]:
    """Return the processor's model, its cores, whether it has AMX, and the GPU's model if a GPU is used.

    The description does not identify the individual machine. Treat the dict as read-only.
    """
    facts = _facts()
    found = {
        "cpu": facts.get("model name") or platform.processor() or platform.machine(),
        "cores": os.cpu_count() or 1,
        "amx": "amx_tile" in facts.get("flags", "").split(),
    }
    return found if device == "cpu" else {**found, "gpu": _gpu(device)}


def check_device(device: str) -> None:
    """Raise ValueError unless torch can compute on the device."""
    if device == "cpu":
        return
    import torch

    if not torch.cuda.is_available():
        raise ValueError(f"device {device} needs a GPU that torch can use, but none was found: use cpu")


def _facts() -> dict[str, str]:
    """Return the `/proc/cpuinfo` entries of the first processor; empty if the file is missing."""
    try:
        lines = _CPU_FACTS.read_text(encoding="utf-8", errors="replace").partition("\n\n")[0].splitlines()
    except OSError:
        return {}
    pairs = (line.partition(":") for line in lines)
    return {name.strip(): value.strip() for name, _, value in pairs}


def _gpu(device: str) -> str:
    import torch

    return torch.cuda.get_device_name(device)
