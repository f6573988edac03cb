"""The error for NaN and infinite responses, raised by statistics that detect them themselves."""

from __future__ import annotations

from torch import Tensor


class NonFiniteError(ValueError):
    """Responses contain NaN or infinity; callers that know the layer complete the message."""


def finite(responses: Tensor) -> Tensor:
    """Return the responses if all are finite.

    Raises:
        NonFiniteError: a response is NaN or infinite.
    """
    # One sum is fast, but may overflow even if all responses are finite.
    if not responses.sum().isfinite() and not responses.isfinite().all():
        raise NonFiniteError
    return responses
