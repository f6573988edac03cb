"""A model's derivative along a direction in input space, computed in the same pass as its output."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad

from invariscope.readers.prediction import PredictionSelector
from invariscope.readers.torch.copies import Placed, frozen, place

_WHOLE = PredictionSelector()


class NotForwardError(TypeError):
    """Raised if an operation of the model does not support forward-mode differentiation."""


@dataclass(frozen=True, eq=False)
class Pushforward:
    r"""A model f together with its derivative, by forward-mode automatic differentiation.

    .. math:: x, v \mapsto f(x),\; df(x)\, v

    A call costs about as much as two and a half forward passes, whatever the size of the output. Finite
    differences are not used.

    Args:
        placed: a copy of the model.
        dtype: dtype of the copy.
    """

    placed: Placed
    dtype: torch.dtype

    def feed(self, x: Tensor) -> Tensor:
        """Return x on the device and in the dtype of the copy."""
        return self.placed.feed(x).to(self.dtype)

    def __call__(
        self, x: Tensor, move: Tensor, prediction: PredictionSelector = _WHOLE
    ) -> tuple[Tensor, Tensor]:
        """Return the model's prediction and its derivative along `move`.

        Raises:
            NotForwardError: an operation has no forward derivative, or the output has no gradient path to
                the input.
        """
        with torch.no_grad(), forward_ad.dual_level(), warnings.catch_warnings():
            # The first use of forward-mode differentiation makes torch warn about its own code.
            warnings.filterwarnings("ignore", message=".*torch.jit.script.*", category=DeprecationWarning)
            try:
                returned = self.placed.model(forward_ad.make_dual(x.clone(), move))
            except NotImplementedError as error:
                raise NotForwardError(str(error)) from error
            output, tangent = forward_ad.unpack_dual(prediction.of(returned, len(x)))
        if tangent is None:
            raise NotForwardError("the output is not differentiable with respect to the input")
        return output, tangent


def pushforward(model: nn.Module, *, dtype: torch.dtype = torch.float64) -> Pushforward:
    """Return the derivative of a copy of the model in eval mode.

    Raises:
        TypeError: the model is not a module.
        ValueError: the model cannot be copied.
    """
    if not isinstance(model, nn.Module):
        raise TypeError(
            f"derivatives need a torch.nn.Module; got {type(model).__name__}. Other "
            "frameworks are not supported here"
        )
    placed = place(model, device=None, precision="float64")
    frozen(placed.model, dtype)
    return Pushforward(placed, dtype)
