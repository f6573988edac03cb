"""A model is measured in eval mode and afterwards is what it was, also after an error."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from invariscope.autocast import without_autocast
from invariscope.random_state import own_generators, put_back
from invariscope.readers._modules import is_scripted

_TABLES = ("_parameters", "_buffers", "_modules")


@contextmanager
def preserved(model: nn.Module) -> Iterator[None]:
    """Eval mode; no compiled calls, no attention fast path and no autocast of the caller's inside.

    Everything is as before on exit.

    Kept: each module's mode and attributes, buffers, gradients, requires_grad, the model's own generators,
    torch's fast path switch. The modes are set directly: a model's own `train()` may do more (merge adapters
    into weights). What a forward appends to a list of the model's own stays there.
    """
    fast_path = torch.backends.mha.get_fastpath_enabled()
    modules = [_ModuleState.of(module) for module in model.modules()]
    tensors = [_TensorState.of(tensor) for tensor in _may_change(model)]
    kept = {id(state.tensor) for state in tensors}
    weights = [_WeightState.of(name, weight, kept) for name, weight in model.named_parameters()]
    with put_back(own_generators(model)), without_autocast():
        try:
            torch.backends.mha.set_fastpath_enabled(False)  # it would run inner layers without their hooks
            for state in modules:
                state.prepare()
            for weight in weights:
                weight.prepare()
            yield
        finally:
            torch.backends.mha.set_fastpath_enabled(fast_path)
            for state in (*modules, *tensors, *weights):
                state.restore()
            for weight in weights:
                weight.report()


def _may_change(model: nn.Module) -> list[Tensor]:
    """Buffers, and the weights that an embedding with max_norm rescales in place on every lookup."""
    embeddings = [m for m in model.modules() if isinstance(m, (nn.Embedding, nn.EmbeddingBag))]
    rescaled = [m.weight for m in embeddings if m.max_norm is not None]
    return [*model.buffers(), *rescaled]


@dataclass(frozen=True)
class _ModuleState:
    module: nn.Module
    training: bool
    attributes: dict[str, Any]
    tables: dict[str, dict[str, Any]]

    @classmethod
    def of(cls, module: nn.Module) -> _ModuleState:
        if is_scripted(module):  # its attributes live in C++
            return cls(module, module.training, {}, {})
        attributes = dict(vars(module))
        return cls(module, module.training, attributes, {name: dict(attributes[name]) for name in _TABLES})

    def prepare(self) -> None:
        self.module.training = False
        if vars(self.module).get("_compiled_call_impl") is not None:
            self.module._compiled_call_impl = None  # a compiled call would not show its inner layers

    def restore(self) -> None:
        if not self.attributes:
            self.module.training = self.training
            return
        _reset(vars(self.module), self.attributes)
        for name, table in self.tables.items():
            _reset(vars(self.module)[name], table)


def _reset(table: dict[str, Any], before: dict[str, Any]) -> None:
    """Gives a dictionary its former entries, writing only what differs."""
    if list(table) != list(before):
        for key in list(table):
            del table[key]
    for key, value in before.items():
        if table.get(key, table) is not value:
            table[key] = value


@dataclass(frozen=True)
class _TensorState:
    tensor: Tensor
    values: Tensor

    @classmethod
    def of(cls, tensor: Tensor) -> _TensorState:
        return cls(tensor, tensor.detach().clone())

    def restore(self) -> None:
        # Written only where it changed: a write would invalidate a graph that somebody else recorded.
        if not torch.equal(self.tensor, self.values):
            with torch.no_grad():
                self.tensor.copy_(self.values)


@dataclass(frozen=True)
class _WeightState:
    name: str
    weight: nn.Parameter
    gradient: Tensor | None
    requires_grad: bool
    version: int | None

    @classmethod
    def of(cls, name: str, weight: nn.Parameter, kept: set[int]) -> _WeightState:
        unwatched = id(weight) in kept or weight.is_inference()
        return cls(name, weight, weight.grad, weight.requires_grad, None if unwatched else weight._version)

    def prepare(self) -> None:
        if self.gradient is not None:
            self.weight.grad = None  # so that a backward pass inside the forward cannot add to it

    def restore(self) -> None:
        if self.weight.grad is not self.gradient:
            self.weight.grad = self.gradient
        if self.weight.requires_grad != self.requires_grad:
            self.weight.requires_grad_(self.requires_grad)

    def report(self) -> None:
        if self.version is not None and self.weight._version != self.version:
            warnings.warn(
                f"the model's forward writes to its own parameter {self.name!r}: measuring it changes it, as "
                "any forward does",
                RuntimeWarning,
                stacklevel=2,
            )
