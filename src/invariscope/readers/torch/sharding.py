"""Handle weights that are sharded across processes and gathered for each forward pass (FSDP2)."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn


@contextmanager
def resharded(model: nn.Module) -> Iterator[None]:
    """Initialise `fully_shard`ed modules as their first forward pass would, and shard them again on exit.

    This sets up objects inside torch that cannot be restored, so it must precede any snapshot of the
    model. It does not change what the model computes.
    """
    sharded = _sharded(model)
    for module in sharded:
        module.unshard()
        module.reshard()
    try:
        yield
    finally:
        for module in sharded:
            module.reshard()


def _sharded(model: nn.Module) -> list[Any]:
    fsdp = sys.modules.get("torch.distributed.fsdp")  # not loaded: nothing is sharded
    kind = getattr(fsdp, "FSDPModule", None)
    return [] if kind is None else [module for module in model.modules() if isinstance(module, kind)]
