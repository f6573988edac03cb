"""The options of a measurement, shared by the Python call and the command line."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from invariscope.readers.base import Precision
from invariscope.registry import unknown

PRECISIONS = get_args(Precision)


@dataclass(frozen=True, kw_only=True)
class Options:
    """How to measure; `iv.measure` documents each of them."""

    layers: Any = None
    by_class: bool = False
    samples: int | None = None
    batch_size: int | str = "auto"
    device: str | None = None
    precision: Precision = "float32"
    seed: int = 0
    checkpoint: str | Path | None = None
    progress: bool | Callable[[int, int | None], None] = True
    intervals: bool = True
    nonfinite: str = "raise"
    unstable: str = "refuse"
    memory_gb: float | None = None
    batch_axis: Any = None
    label: str | None = None

    def __post_init__(self) -> None:
        choices = {"precision": PRECISIONS, "nonfinite": ("raise", "skip"), "unstable": ("refuse", "measure")}
        for name, allowed in choices.items():
            if getattr(self, name) not in allowed:
                raise unknown(name, str(getattr(self, name)), allowed)
        if self.batch_size != "auto" and not (isinstance(self.batch_size, int) and self.batch_size > 0):
            raise ValueError(f"batch_size must be 'auto' or a positive whole number, got {self.batch_size!r}")
        if self.samples is not None and self.samples < 2:
            raise ValueError(f"samples={self.samples}: a variance across samples needs at least two")

    def described(self) -> dict[str, Any]:
        """The options as plain data, for the provenance."""
        names = (
            "by_class",
            "samples",
            "batch_size",
            "device",
            "precision",
            "intervals",
            "nonfinite",
            "unstable",
        )
        layers = self.layers if isinstance(self.layers, (str, list, tuple, type(None))) else repr(self.layers)
        return {name: getattr(self, name) for name in names} | {"layers": layers}
