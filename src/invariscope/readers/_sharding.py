"""Weights that are shared out among processes and gathered for each forward (FSDP2)."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn


@contextmanager
def resharded(model: nn.Module) -> Iterator[None]:
    """Inside, `fully_shard`ed modules are initialised as by a first forward, and sharded on entry and exit.

    What their first forward sets up is noted in objects of torch's, so it is kept: it comes before anything
    is remembered of the model, and the model computes the same.
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
