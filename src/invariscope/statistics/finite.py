"""The refusal of responses that are no numbers."""

from __future__ import annotations

from torch import Tensor

from invariscope.statistics.moments.orbit_state import NonFiniteError


def finite(responses: Tensor) -> Tensor:
    """The responses in float64.

    Raises:
        NonFiniteError: one of them is NaN or infinite.

    >>> import torch
    >>> finite(torch.ones(2))
    tensor([1., 1.], dtype=torch.float64)
    """
    if not responses.isfinite().all():
        raise NonFiniteError
    return responses.double()
