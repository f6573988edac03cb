"""Networks whose invariance is known beforehand: what a measure must find there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from invariscope.transforms import as_transform

if TYPE_CHECKING:
    from jaxtyping import Shaped


class OrbitAverage(nn.Module):
    """A model's mean output over the orbit of its input.

    .. math:: \\bar f(x) = \\frac{1}{m} \\sum_{j=1}^{m} f(t_j x)

    Shapes: inputs (sample, ...) to what the model gives for them, a tensor with samples on its first axis.
    If the elements are a group that moves inputs exactly, the output is invariant whatever the model
    is, up to rounding: transforming x changes the order of the terms and nothing else. Each forward costs m
    of the model's.

    Caveats: elements that are no group (a range of angles, say) give a smoother output and no invariant one;
    interpolating elements invariance up to interpolation. The model's own layers stay as they are: an
    invariant output says nothing about them.

    Args:
        model: any module; it is held, and trained with this one.
        transform: the elements, or whatever `iv.measure` takes for them.

    Raises:
        TypeError: no module, or one whose output is no tensor.
        ValueError: elements that mean something else for each sample.

    Source:
        Kvinge et al. 2022, arXiv:2210.03773, where such means are what outputs are compared with.

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
                f"{type(self.transform).__name__} draws its elements for each sample, by its place in the "
                "data, which a model is not told; give elements that are the same for all samples"
            )

    def forward(self, x: Shaped[Tensor, "sample ..."]) -> Tensor:
        """The mean over the orbit of each sample."""
        orbit = self.transform.orbit(x)
        outputs = self.model(orbit.flatten(0, 1))
        if not isinstance(outputs, Tensor):
            raise TypeError(
                f"the model gives a {type(outputs).__name__}; wrap it so that it gives one tensor"
            )
        return outputs.unflatten(0, orbit.shape[:2]).mean(1)

    def extra_repr(self) -> str:
        """The transform."""
        return f"transform={self.transform}"
