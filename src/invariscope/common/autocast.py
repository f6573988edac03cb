"""Keep the caller's autocast out of measurements, which set their own dtype."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch

_KINDS = ("cpu", "cuda", "mps", "xpu")


@contextmanager
def without_autocast() -> Iterator[None]:
    """Disable the caller's autocast inside the context.

    Autocast that a model enters in its own forward pass still applies. Also works as a decorator,
    `@without_autocast()`.

    >>> x = torch.ones(1, 1)
    >>> with torch.autocast("cpu", dtype=torch.bfloat16):
    ...     inherited = x @ x
    ...     with without_autocast():
    ...         print(inherited.dtype, (x @ x).dtype)
    torch.bfloat16 torch.float32
    """
    with ExitStack() as stack:
        for kind in _KINDS:
            if torch.amp.is_autocast_available(kind) and torch.is_autocast_enabled(kind):
                stack.enter_context(torch.autocast(kind, enabled=False))
        yield
