"""The settings of a training run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Self

from invariscope.common.checks import set_integers
from invariscope.common.registry import unknown
from invariscope.zoo.schedules import SCHEDULES

_LARGEST = 1e6  # of learning rates and weight decay
OPTIMIZERS = ("adam", "sgd")
PRECISIONS = ("float32", "bf16", "auto")
# Settings that `describe` always includes. It includes others only if they differ from their defaults, so
# that checkpoints stay valid when a setting is added.
_ALWAYS = ("batch_size", "lr", "schedule", "seed", "precision", "channels_last")


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """Training settings that do not depend on the objective; `train` documents them.

    Raises:
        ValueError: a setting out of range, or incompatible settings.
    """

    epochs: int
    batch_size: int = 256
    lr: float = 1e-3
    schedule: str = "constant"
    seed: int = 0
    precision: str = "float32"
    channels_last: bool = False
    optimizer: str = "adam"
    weight_decay: float = 0.0
    label_smoothing: float = 0.0
    flip: bool = False
    crop_px: int = 0
    ema: float = 0.0

    def __post_init__(self) -> None:
        known = {"precision": PRECISIONS, "schedule": SCHEDULES, "optimizer": OPTIMIZERS}
        for name, names in known.items():
            if getattr(self, name) not in names:
                raise unknown(name, getattr(self, name), names)
        set_integers(self, epochs=1, batch_size=1, crop_px=0)
        if not self.lr > 0:
            raise ValueError(f"lr must be positive; got {self.lr}.")
        if self.lr > _LARGEST:
            raise ValueError(f"lr must be at most {_LARGEST:g}; got {self.lr:g}.")
        if not 0 <= self.weight_decay <= _LARGEST or (self.weight_decay and self.optimizer != "sgd"):
            raise ValueError(
                f'weight_decay must be at least 0, and is only supported by optimizer="sgd"; got '
                f"weight_decay={self.weight_decay} with optimizer={self.optimizer!r}."
            )
        for name in ("label_smoothing", "ema"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 0 and below 1; got {name}={getattr(self, name)}.")

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> Self:
        """Select the settings from a function's arguments."""
        return cls(**{field.name: given[field.name] for field in fields(cls) if field.name in given})

    def describe(self) -> dict[str, Any]:
        """Return, in plain values, the settings that must agree for one training run to continue another."""
        usual = {f.name: f.default for f in fields(self)}
        given = {name: value for name, value in asdict(self).items() if name != "epochs"}
        return {name: value for name, value in given.items() if name in _ALWAYS or value != usual[name]}
