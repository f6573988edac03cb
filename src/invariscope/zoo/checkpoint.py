"""The state of an interrupted training: one file, replaced whole after each epoch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from invariscope.zoo.tensors import differences, read_tensors, write_tensors

_SCHEMA = "invariscope-checkpoint-1"


def save_checkpoint(
    path: Path,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    settings: dict[str, Any],
    history: list[dict[str, Any]],
    measured: list[dict[str, Any]],
) -> None:
    """Writes weights, optimizer, settings and records; an older checkpoint stays until this is complete."""
    tensors = {f"model.{name}": value for name, value in model.state_dict().items()}
    tensors |= {
        f"optimizer.{number}.{key}": value
        for number, state in optimizer.state_dict()["state"].items()
        for key, value in state.items()
    }
    document = json.dumps({"settings": settings, "history": history, "measured": measured})
    write_tensors(path, tensors, {"schema": _SCHEMA, "document": document})


def restore_checkpoint(
    path: Path, model: nn.Module, optimizer: torch.optim.Optimizer, settings: dict[str, Any]
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Puts weights and optimizer back as they were; returns the history and what a monitor measured.

    Raises:
        ValueError: damaged, no checkpoint, or of a training with other settings: the message says which.
    """
    tensors, metadata = read_tensors(path)
    document = _document(path, metadata)
    # Through JSON, as the stored ones went: tuples become lists there.
    _refuse_other(path, json.loads(json.dumps(settings)), document["settings"])
    weights = {name.removeprefix("model."): t for name, t in tensors.items() if name.startswith("model.")}
    if found := differences(model.state_dict(), weights):
        raise ValueError(f"{path} is a checkpoint of another architecture. {found}.")
    model.load_state_dict(weights)
    optimizer.load_state_dict(optimizer.state_dict() | {"state": _optimizer_state(tensors)})
    return document["history"], document.get("measured", [])


def _document(path: Path, metadata: dict[str, str]) -> dict[str, Any]:
    other = ValueError(f"{path} is no checkpoint of this version; give a new path, or delete the file.")
    if metadata.get("schema") != _SCHEMA:
        raise other
    try:
        document = json.loads(metadata.get("document", ""))
    except json.JSONDecodeError as error:
        raise other from error
    if not isinstance(document, dict) or not {"settings", "history"} <= set(document):
        raise other
    return document


def _optimizer_state(tensors: dict[str, Tensor]) -> dict[int, dict[str, Tensor]]:
    state: dict[int, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        if name.startswith("optimizer."):
            _, number, key = name.split(".", 2)
            state.setdefault(int(number), {})[key] = value
    return state


def _refuse_other(path: Path, wanted: dict[str, Any], found: dict[str, Any]) -> None:
    other = [
        f"{key} {found.get(key)!r} there, {wanted.get(key)!r} now"
        for key in sorted({*wanted, *found})
        if wanted.get(key) != found.get(key)
    ]
    if other:
        shown = "; ".join(text if len(text) < 120 else text.split(" ", 1)[0] + " differs" for text in other)
        raise ValueError(
            f"{path} is the checkpoint of another training: {shown}. Give it its own path, or "
            "delete the file to start again."
        )
