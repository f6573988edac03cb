"""A model's derivative along a movement of its input, in one pass with the output itself."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad

from invariscope.readers.prediction import Prediction
from invariscope.readers.torch.copies import Placed, frozen, place

_WHOLE = Prediction()


class NotForwardError(TypeError):
    """An operation of the model has no forward derivative: it can be differentiated backwards only."""


@dataclass(frozen=True, eq=False)
class Pushforward:
    r"""A model f with its derivative, by forward-mode automatic differentiation.

    .. math:: x, v \mapsto f(x),\; df(x)\, v

    About two and a half forwards, however many values the output has; no step is taken.

    Args:
        placed: a copy of the model.
        dtype: of the copy.
    """

    placed: Placed
    dtype: torch.dtype

    def feed(self, x: Tensor) -> Tensor:
        """x as the copy takes it."""
        return self.placed.feed(x).to(self.dtype)

    def __call__(self, x: Tensor, move: Tensor, prediction: Prediction = _WHOLE) -> tuple[Tensor, Tensor]:
        """Return the model's prediction and its derivative along the move.

        Raises:
            NotForwardError: an operation without a forward derivative, or an output cut off from the input.
        """
        with torch.no_grad(), forward_ad.dual_level(), _quiet():
            try:
                returned = self.placed.model(forward_ad.make_dual(x.clone(), move))
            except NotImplementedError as error:
                raise NotForwardError(str(error)) from error
            output, tangent = forward_ad.unpack_dual(prediction.of(returned, len(x)))
        if tangent is None:
            raise NotForwardError("the output does not depend on the input, as far as derivatives can tell")
        return output, tangent


def pushforward(model: nn.Module, *, dtype: torch.dtype = torch.float64) -> Pushforward:
    """The derivative of a copy of the model, in eval mode.

    Raises:
        TypeError: no module.
        ValueError: a model that cannot be copied.
    """
    if not isinstance(model, nn.Module):
        raise TypeError(
            f"a derivative is taken of a torch.nn.Module; got {type(model).__name__}. Models of other "
            "frameworks have no gradients here"
        )
    placed = place(model, device=None, precision="float64")
    frozen(placed.model, dtype)
    return Pushforward(placed, dtype)


@contextmanager
def _quiet() -> Iterator[None]:
    """Without what torch warns of itself when it differentiates forward for the first time."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*torch.jit.script.*", category=DeprecationWarning)
        yield
