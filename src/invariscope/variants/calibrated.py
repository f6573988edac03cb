"""Copies of models whose batch normalisation uses the statistics of given data or of each batch."""

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
# A plain attribute of the copy's modules, which does not change how weights are saved and compared.
_MARK = "normalized_by"


@without_autocast()
@without_default_device()
def calibrated(model: nn.Module, data: Any, *, samples: int | None = 512, seed: int = 0) -> nn.Module:
    """Return a copy in eval mode whose batch normalisation uses the statistics of the data.

    At initialisation the stored statistics are mean 0 and variance 1, so activations are not normalised. The
    copy treats the given inputs as the model in training mode would treat them in a single batch.

    Args:
        model: a model with batch normalisation; it is not changed.
        data: as in `iv.measure`.
        samples: size of a seeded subset, which is forwarded as one batch; None, or a number larger than the
            data set, uses all samples.
        seed: seed of the subset.
    Returns:
        The copy. Its results have "statistics of N inputs" under `provenance["model"]["normalization"]`,
        instead of "stored running statistics".
    Raises:
        TypeError: the model is not an `nn.Module`.
        ValueError: the model has no batch normalisation with running statistics.

    >>> net = nn.Sequential(nn.BatchNorm1d(2))
    >>> calibrated(net, torch.tensor([[0.0, 4.0], [2.0, 4.0]]))(torch.tensor([[1.0, 4.0]]))
    tensor([[0., 0.]], grad_fn=<NativeBatchNormBackward0>)
    """
    found = _copy_of(model)
    source = as_source(data, seed=seed)
    if samples is not None and source.length is not None:
        source = as_source(source, samples=min(samples, source.length), seed=seed)
    place = next(model.parameters(), torch.zeros(()))
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
    """Return a copy in eval mode whose batch normalisation uses the statistics of each batch.

    Its outputs depend on the samples that are forwarded together, including orbits and noise: measure it
    with `unstable="measure"`, and expect different values for a different batch size. `calibrated` avoids
    this.

    Args:
        model: a model with batch normalisation; it is not changed.
    Raises:
        TypeError: the model is not an `nn.Module`.
        ValueError: the model has no batch normalisation with running statistics.
    """
    found = _copy_of(model)
    for norm in _norms(found):
        norm.track_running_stats = False
        norm.running_mean = norm.running_var = norm.num_batches_tracked = None
    return found.eval()


def normalization_of(model: Any) -> str | None:
    """Return which statistics the model's batch normalisation uses in eval mode; None if it has none.

    >>> normalization_of(nn.Sequential(nn.BatchNorm1d(2)))
    'stored running statistics'
    """
    if not isinstance(model, nn.Module):
        return None
    kinds = [getattr(n, _MARK, STORED) if n.running_mean is not None else BATCH for n in _every_norm(model)]
    return ", ".join(dict.fromkeys(kinds)) or None


def _copy_of(model: nn.Module) -> nn.Module:
    if not isinstance(model, nn.Module):
        raise TypeError(f"the model must be an nn.Module; got {type(model).__name__}")
    if next(_norms(model), None) is None:
        raise ValueError(
            f"{type(model).__name__} has no batch normalisation with running statistics; measure it unchanged"
        )
    with exclusive(model):
        return copy.deepcopy(model).eval()


def _every_norm(model: nn.Module) -> Iterator[_BatchNorm]:
    return (module for module in model.modules() if isinstance(module, _BatchNorm))


def _norms(model: nn.Module) -> Iterator[_BatchNorm]:
    return (module for module in _every_norm(model) if module.running_mean is not None)


def _counting(sizes: list[int]) -> Any:
    """Return a hook that records the number of values per channel in each forward pass."""

    def record(_: nn.Module, given: tuple[Tensor, ...]) -> None:
        sizes.append(given[0].numel() // given[0].shape[1])

    return record


def _biased(norm: _BatchNorm, sizes: list[int]) -> None:
    """Change the divisor of the variance from n − 1 to n, as in the normalisation of a batch."""
    if sizes and norm.running_var is not None:
        norm.running_var.mul_(sum((n - 1) / n for n in sizes) / len(sizes))
