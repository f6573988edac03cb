"""Which statistics batch normalisation uses: those stored, those of its batch, or those of given data."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from invariscope.common.autocast import without_autocast
from invariscope.common.default_device import without_default_device
from invariscope.data.sources import as_source
from invariscope.readers.threads import exclusive

STORED, BATCH = "stored running statistics", "statistics of each batch"
# A plain attribute of the copy's modules: no tensor, so that weights are saved and compared as before.
_MARK = "normalized_by"


@without_autocast()
@without_default_device()
def calibrated(model: nn.Module, data: Any, *, samples: int | None = 512, seed: int = 0) -> nn.Module:
    """A copy whose batch normalisation has the statistics of the data, in eval mode.

    At initialisation the stored statistics are mean 0 and variance 1, which normalise nothing. The copy
    does to these very inputs, one by one, what a single batch of all of them would do in training mode.

    Args:
        model: with batch normalisation; it is left as it is.
        data: as `iv.measure` takes them.
        samples: a seeded subset of that many, forwarded as one batch; None, or more than there are: all.
        seed: of that subset.
    Returns:
        The copy. Results of it say "statistics of N inputs" under `provenance["model"]["normalization"]`,
        where those of the model say "stored running statistics".
    Raises:
        TypeError: no `nn.Module`.
        ValueError: no batch normalisation that keeps statistics.

    >>> net = nn.Sequential(nn.BatchNorm1d(2))
    >>> calibrated(net, torch.tensor([[0.0, 4.0], [2.0, 4.0]]))(torch.tensor([[1.0, 4.0]]))
    tensor([[0., 0.]], grad_fn=<NativeBatchNormBackward0>)
    """
    found = _copy_of(model)
    source = as_source(data, seed=seed)
    if samples is not None and source.length is not None:
        source = as_source(source, samples=min(samples, source.length), seed=seed)
    place = next((p for p in model.parameters()), torch.zeros(()))
    x = torch.cat([window.inputs for window in source.windows()]).to(place.device)
    norms = list(_norms(found))
    sizes = {norm: [] for norm in norms}
    hooks = [norm.register_forward_pre_hook(_counting(sizes[norm])) for norm in norms]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the plain average over the runs of a shared module
        norm.train()
    with torch.no_grad():
        found(x)
    for hook in hooks:
        hook.remove()
    for norm, momentum in zip(norms, momenta, strict=True):
        _biased(norm, sizes[norm])
        norm.momentum = momentum
        setattr(norm, _MARK, f"statistics of {len(x):,} inputs")
    return found.eval()


def batch_normalized(model: nn.Module) -> nn.Module:
    """A copy whose batch normalisation uses the statistics of each batch, in eval mode too.

    Its answers depend on what is forwarded together, orbits and noise included: measure it with
    `unstable="measure"`, and expect other numbers from another batch size. `calibrated` has none of that.

    Args:
        model: with batch normalisation; it is left as it is.
    Raises:
        TypeError: no `nn.Module`.
        ValueError: no batch normalisation that keeps statistics.
    """
    found = _copy_of(model)
    for norm in _norms(found):
        norm.track_running_stats = False
        norm.running_mean = norm.running_var = norm.num_batches_tracked = None
    return found.eval()


def normalization_of(model: Any) -> str | None:
    """Which statistics the model's batch normalisation uses in eval mode; None without any.

    >>> normalization_of(nn.Sequential(nn.BatchNorm1d(2)))
    'stored running statistics'
    """
    if not isinstance(model, nn.Module):
        return None
    said = [getattr(n, _MARK, STORED) if n.running_mean is not None else BATCH for n in _every_norm(model)]
    return ", ".join(dict.fromkeys(said)) or None


def _copy_of(model: nn.Module) -> nn.Module:
    if not isinstance(model, nn.Module):
        raise TypeError(f"batch normalisation is that of an nn.Module; got {type(model).__name__}")
    if not any(True for _ in _norms(model)):
        raise ValueError(
            f"{type(model).__name__} has no batch normalisation with running statistics; measure it as it is"
        )
    with exclusive(model):
        return copy.deepcopy(model).eval()


def _every_norm(model: nn.Module) -> Iterator[_BatchNorm]:
    return (module for module in model.modules() if isinstance(module, _BatchNorm))


def _norms(model: nn.Module) -> Iterator[_BatchNorm]:
    return (module for module in _every_norm(model) if module.running_mean is not None)


def _counting(sizes: list[int]) -> Any:
    """A hook that notes how many values each channel has in a forward."""

    def note(_: nn.Module, given: tuple[Tensor, ...]) -> None:
        sizes.append(given[0].numel() // given[0].shape[1])

    return note


def _biased(norm: _BatchNorm, sizes: list[int]) -> None:
    """Divides by n what was divided by n − 1: the batch itself was normalised by the former."""
    if sizes and norm.running_var is not None:
        norm.running_var.mul_(sum((n - 1) / n for n in sizes) / len(sizes))
