"""Measure a model in eval mode and restore it afterwards, also after an error."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from torch import Tensor, nn

from invariscope.common.autocast import without_autocast
from invariscope.common.random_state import held_generators, put_back
from invariscope.readers.threads import WITHOUT_FAST_PATH, exclusive
from invariscope.readers.torch.modules import is_scripted
from invariscope.readers.torch.sharding import resharded
from invariscope.readers.torch.snapshot import Snapshot


@contextmanager
def preserved(model: nn.Module) -> Iterator[None]:
    """Put the model in eval mode, without compiled calls, attention fast path or the caller's autocast.

    Restored on exit, also after an error: each module's mode, hooks, submodules, buffers, attributes and
    their contents (see `Snapshot`), gradients, requires_grad, the model's own generators, and torch's fast
    path setting. Everything is restored together, so that flags agree with what they describe. Modes are set
    directly, because a model's own `train()` may do more, such as merging adapters into weights. A warning
    names weights that a forward pass writes to.

    Other threads that measure the model wait; those that run it do not, and see it in eval mode.
    """
    with exclusive(model), WITHOUT_FAST_PATH.active(), without_autocast(), resharded(model):
        rescaled = _rescaled(model)
        before = Snapshot(model, rescaled)
        kept = {id(weight) for weight in rescaled}
        weights = [_WeightState.of(name, weight, kept) for name, weight in model.named_parameters()]
        with put_back(held_generators(before.objects)):
            try:
                _prepare(model)
                for weight in weights:
                    weight.prepare()
                yield
            finally:
                before.restore()
                for weight in weights:
                    weight.restore()
                for weight in weights:
                    weight.report()


def _prepare(model: nn.Module) -> None:
    for module in model.modules():
        module.training = False
        if not is_scripted(module) and vars(module).get("_compiled_call_impl") is not None:
            module._compiled_call_impl = None  # a compiled call would hide its inner layers


def _rescaled(model: nn.Module) -> list[Tensor]:
    """Return the weights that embeddings with max_norm rescale in place on every lookup."""
    embeddings = [m for m in model.modules() if isinstance(m, (nn.Embedding, nn.EmbeddingBag))]
    return [m.weight for m in embeddings if m.max_norm is not None]


@dataclass(frozen=True)
class _WeightState:
    name: str
    weight: nn.Parameter
    data: Tensor
    gradient: Tensor | None
    requires_grad: bool
    version: int | None

    @classmethod
    def of(cls, name: str, weight: nn.Parameter, kept: set[int]) -> _WeightState:
        unwatched = id(weight) in kept or weight.is_inference()
        version = None if unwatched else weight._version
        return cls(name, weight, weight.data, weight.grad, weight.requires_grad, version)

    def prepare(self) -> None:
        if self.gradient is not None:
            self.weight.grad = None  # so that a backward pass during the forward pass cannot add to it

    def restore(self) -> None:
        if self.weight.grad is not self.gradient:
            self.weight.grad = self.gradient
        if self.weight.requires_grad != self.requires_grad:
            self.weight.requires_grad_(self.requires_grad)
        if type(self.weight) is nn.Parameter and self.weight.data_ptr() != self.data.data_ptr():
            self.weight.data = self.data

    def report(self) -> None:
        if self.version is not None and self.weight._version != self.version:
            warnings.warn(
                f"the model's forward pass writes to its own parameter {self.name!r}, so measuring changes "
                "the model, as any forward pass does",
                RuntimeWarning,
                stacklevel=2,
            )
