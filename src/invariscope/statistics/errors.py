"""The error for responses that are not finite, raised by statistics that notice them themselves."""

from __future__ import annotations

from torch import Tensor


class NonFiniteError(ValueError):
    """Responses hold NaN or infinity; the message is completed by whoever knows the layer."""


def finite(responses: Tensor) -> Tensor:
    """Return the responses.

    Raises:
        NonFiniteError: one of them is NaN or infinite.
    """
    # One sum is quick; it may overflow where no response has.
    if not responses.sum().isfinite() and not responses.isfinite().all():
        raise NonFiniteError
    return responses
