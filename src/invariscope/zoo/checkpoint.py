"""The state of an interrupted training run in one file, replaced atomically."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from invariscope.common.sealing import NAME
from invariscope.zoo.tensors import differences, read_tensors, write_tensors

_SCHEMA, _UNSEALED = "invariscope-checkpoint-2", "invariscope-checkpoint-1"
_OTHER_NETWORK = "the network's weights, configuration or code differ"
_LATER = ("network", "shape")  # checkpoints of earlier versions lack these settings


@dataclass(frozen=True)
class TrainingState:
    """Contents of a checkpoint other than the network and its optimizer.

    Args:
        history, measured: records of the epochs and of a monitor.
        place: the position within an epoch as plain values; empty if the checkpoint is between two epochs.
        tensors: generator states and averaged weights, named "kind.name".
    """

    history: list[dict[str, Any]] = field(default_factory=list)
    measured: list[dict[str, Any]] = field(default_factory=list)
    place: dict[str, Any] = field(default_factory=dict)
    tensors: dict[str, Tensor] = field(default_factory=dict)

    def named(self, kind: str) -> dict[str, Tensor]:
        """Return the tensors of one kind, by name."""
        return named_tensors(self.tensors, kind)


def save_checkpoint(
    path: Path,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    settings: dict[str, Any],
    snapshot: TrainingState,
) -> None:
    """Write weights, optimizer, settings and records; an older checkpoint is kept until this is complete."""
    tensors = {f"model.{name}": value for name, value in model.state_dict().items()}
    tensors |= {
        f"optimizer.{number}.{key}": value
        for number, state in optimizer.state_dict()["state"].items()
        for key, value in state.items()
    }
    entries = {name: getattr(snapshot, name) for name in ("history", "measured", "place")}
    document = json.dumps({"settings": settings, **entries})
    write_tensors(path, tensors | snapshot.tensors, {"schema": _SCHEMA, "document": document})


def restore_checkpoint(
    path: Path, model: nn.Module, optimizer: torch.optim.Optimizer, settings: dict[str, Any]
) -> TrainingState:
    """Restore weights and optimizer; return everything else.

    Raises:
        ValueError: a damaged file, not a checkpoint, or a checkpoint with other settings, which the message
            lists.
    """
    tensors, metadata = read_tensors(path)
    document = _document(path, metadata)
    # Converted through JSON, like the stored settings: tuples become lists.
    _refuse_other(path, json.loads(json.dumps(settings)), document["settings"])
    weights = named_tensors(tensors, "model")
    if found := differences(model.state_dict(), weights):
        raise ValueError(f"{path} is a checkpoint of another architecture. {found}.")
    model.load_state_dict(weights)
    _restore_optimizer(optimizer, named_tensors(tensors, "optimizer"))
    more = {name: t for name, t in tensors.items() if not name.startswith(("model.", "optimizer."))}
    return TrainingState(document["history"], document.get("measured", []), document.get("place", {}), more)


def checkpoint_settings(path: Path) -> dict[str, Any]:
    """Return the training settings stored in a checkpoint.

    Raises:
        ValueError: a damaged file, or not a checkpoint.
    """
    return _document(path, read_tensors(path)[1])["settings"]


def named_tensors(tensors: Mapping[str, Tensor], kind: str) -> dict[str, Tensor]:
    """Return the tensors called "kind.name", by name."""
    start = f"{kind}."
    return {name.removeprefix(start): t for name, t in tensors.items() if name.startswith(start)}


def _document(path: Path, metadata: dict[str, str]) -> dict[str, Any]:
    other = ValueError(f"{path} is not a checkpoint of this version; give a new path, or delete the file.")
    if metadata.get("schema") != (_SCHEMA if NAME in metadata else _UNSEALED):
        raise other
    try:
        document = json.loads(metadata.get("document", ""))
    except (ValueError, RecursionError) as error:
        raise other from error
    if not isinstance(document, dict) or not {"settings", "history"} <= set(document):
        raise other
    return document


def _restore_optimizer(optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    state: dict[int, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        number, key = name.split(".", 1)
        state.setdefault(int(number), {})[key] = value
    optimizer.load_state_dict(optimizer.state_dict() | {"state": state})
    for parameter, entries in optimizer.state.items():
        for key, value in entries.items():
            if value.ndim and value.shape == parameter.shape:
                # Same memory layout as the parameter; otherwise sums may be rounded differently.
                entries[key] = torch.empty_like(parameter).copy_(value)


def _refuse_other(path: Path, wanted: dict[str, Any], found: dict[str, Any]) -> None:
    other = [
        _OTHER_NETWORK
        if key == "network"
        else f"{key} is {found.get(key)!r} there and {wanted.get(key)!r} now"
        for key in sorted({*wanted, *found})
        if wanted.get(key) != found.get(key) and (key in found or key not in _LATER)
    ]
    if other:
        shown = "; ".join(text if len(text) < 120 else text.split(" ", 1)[0] + " differs" for text in other)
        raise ValueError(
            f"{path} is the checkpoint of another training run: {shown}. Give another path, or delete the "
            "file to start again."
        )
