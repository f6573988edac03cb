"""A first layer that whitens image patches, and a function that fits it to the training images."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional

if TYPE_CHECKING:
    from jaxtyping import Float

IMAGES, FLOOR = 5000, 5e-4
_AT_ONCE = 500


class WhiteningConv(nn.Conv2d):
    """Convolution whose filters are fitted to the training images once, and then stay fixed.

    The filters are the eigenvectors of the second moments of all k x k patches, each divided by the square
    root of its eigenvalue, followed by their negatives: 2 C k² channels. They are stored in a buffer, which
    training does not change; biases are learned. They are random until `train` fits them.

    Args:
        channels: C, channels of the image.
        kernel_size: k; maps are k - 1 pixels smaller than the image.

    Source:
        Jordan 2024, arXiv:2404.00498, section 3.2; Coates and Ng 2012, doi:10.1007/978-3-642-35289-8_30.
    """

    fitted: Tensor

    def __init__(self, channels: int, kernel_size: int) -> None:
        super().__init__(channels, 2 * channels * kernel_size**2, kernel_size)
        filters = self.weight.detach().clone()
        del self.weight
        self.register_buffer("weight", filters)
        self.register_buffer("fitted", torch.tensor(False))

    def reset_parameters(self) -> None:
        """Draw random filters and biases, and mark the layer as not fitted."""
        super().reset_parameters()
        if "fitted" in self._buffers:
            self.fitted.fill_(False)

    def fit(self, images: Float[Tensor, "sample C H W"]) -> None:
        """Fit the filters to up to 5,000 of the images, evenly spaced."""
        size = self.kernel_size[0]
        filters = whitening_filters(images[:: -(-len(images) // IMAGES)], size)
        self.weight.copy_(torch.cat([filters, -filters]))
        self.fitted.fill_(True)


def whitening_filters(
    images: Float[Tensor, "sample C H W"], kernel_size: int
) -> Float[Tensor, "filter C k k"]:
    """Return C k² filters whose responses to the patches of the images have second moments of about 1.

    .. math:: w_i = e_i / \\sqrt{\\lambda_i + 5 \\cdot 10^{-4}}

    with eigenvectors e_i and eigenvalues λ_i of the mean of p pᵀ over all patches p, largest eigenvalue
    first. The mean product of the responses of two different filters is 0.

    >>> x = torch.randn(8, 1, 9, 9, generator=torch.Generator().manual_seed(0))
    >>> y = functional.conv2d(x, whitening_filters(x, 2)).transpose(0, 1).flatten(1)
    >>> torch.allclose(y @ y.T / y.shape[1], torch.eye(4), atol=2e-3)
    True
    """
    channels = images.shape[1]
    size = channels * kernel_size**2
    moments, count = torch.zeros(size, size, dtype=torch.float64), 0
    for part in images.split(_AT_ONCE):
        patches = functional.unfold(part.double().cpu(), kernel_size).transpose(1, 2).flatten(0, 1)
        moments, count = moments + patches.T @ patches, count + len(patches)
    values, vectors = torch.linalg.eigh(moments / count)
    filters = (vectors / (values + FLOOR).sqrt()).T.flip(0)
    # An eigenvector's sign is arbitrary; make the largest entry positive.
    largest = filters.gather(1, filters.abs().argmax(1, keepdim=True))
    return (filters * largest.sign()).view(size, channels, kernel_size, kernel_size).float()


def fit_layers(model: nn.Module, images: Tensor) -> None:
    """Fit all whitening layers that have not been fitted yet to the images."""
    for module in model.modules():
        if isinstance(module, WhiteningConv) and not module.fitted:
            module.fit(images)
