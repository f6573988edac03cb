"""Networks whose outputs are invariant by construction, as references for measures."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from invariscope.transforms import as_transform

if TYPE_CHECKING:
    from jaxtyping import Shaped


class OrbitAverage(nn.Module):
    """A model's mean output over the orbit of its input.

    .. math:: \\bar f(x) = \\frac{1}{m} \\sum_{j=1}^{m} f(t_j x)

    Inputs are (sample, ...); the model must return a tensor with samples on its first axis. If the elements
    form a group that acts exactly on inputs, the output is invariant for any model, up to rounding:
    transforming x only changes the order of the terms. Each forward pass costs m forward passes of the model.

    Caveats: elements that do not form a group (such as a range of angles) make the output smoother, but not
    invariant. With elements that interpolate, the output is invariant only up to interpolation errors. The
    model's own layers do not change, so an invariant output says nothing about them.

    Args:
        model: any module; it becomes a submodule, and trains with this one.
        transform: the elements, as in `iv.measure`.

    Raises:
        TypeError: the model is not a module, or its output is not a tensor.
        ValueError: the elements are drawn per sample.

    Source:
        Kvinge et al. 2022, arXiv:2210.03773, which compares outputs with such means.

    >>> import torch, invariscope as iv
    >>> model = OrbitAverage(torch.nn.Flatten(), iv.QuarterTurns())
    >>> model(torch.tensor([[[[1.0, 2.0], [3.0, 6.0]]]]))
    tensor([[3., 3., 3., 3.]])
    """

    def __init__(self, model: nn.Module, transform: Any) -> None:
        super().__init__()
        if not isinstance(model, nn.Module):
            raise TypeError(f"OrbitAverage averages a torch.nn.Module; got {type(model).__name__}")
        self.model, self.transform = model, as_transform(transform)
        if self.transform.per_sample:
            raise ValueError(
                f"{type(self.transform).__name__} draws its elements per sample, from keys that a model does "
                "not receive; give elements that are the same for all samples"
            )

    def forward(self, x: Shaped[Tensor, "sample ..."]) -> Tensor:
        """Return the mean output over the orbit of each sample."""
        orbit = self.transform.orbit(x)
        outputs = self.model(orbit.flatten(0, 1))
        if not isinstance(outputs, Tensor):
            raise TypeError(
                f"the model returns a {type(outputs).__name__}; wrap it so that it returns one tensor"
            )
        return outputs.unflatten(0, orbit.shape[:2]).mean(1)

    def extra_repr(self) -> str:
        """Return the transform."""
        return f"transform={self.transform}"
