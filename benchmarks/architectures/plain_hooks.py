"""Record the outputs of leaf modules with forward hooks that are independent of the library."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.architectures.catalogue import SAMPLES

# These modules count as leaves, since they use the weights of their children without calling them.
_WHOLE = (nn.MultiheadAttention, nn.RNNBase, nn.RNNCellBase)

_APART = 1e-4  # share of a tensor's rms: above rounding, below the distance to another sample
_MASKED = 1e30

SIZES = SAMPLES, 7, 5
"""Batch sizes by which the batch axis is found."""

Key = tuple[str, int, tuple[Any, ...]]
"""Layer, call, and path of the tensor in the output."""


@dataclass(frozen=True, eq=False)
class Leaf:
    """One floating-point tensor with a batch axis that a leaf module returns.

    Args:
        key: identifies the tensor.
        label: the name of the layer in the library; the first tensor of an output has the plain name.
        axis: the batch axis.
        rows: rows per sample on that axis.
        ambiguous: whether the size of other axes follows the batch size as well.
    """

    key: Key
    label: str
    axis: int
    rows: int
    ambiguous: bool


def leaves(model: nn.Module) -> dict[str, nn.Module]:
    """Return modules without children; parametrizations of weights do not count as children."""
    found: dict[str, nn.Module] = {}
    inside: tuple[str, ...] = ()
    for name, module in model.named_modules():
        if ".parametrizations." in f".{name}." or name.startswith(inside):
            continue
        if isinstance(module, _WHOLE):
            inside += (f"{name}.",)
        children = [child for child, _ in module.named_children() if child != "parametrizations"]
        if not children or isinstance(module, _WHOLE):
            found[name] = module
    return found


def tensors_of(output: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], Tensor]]:
    """Yield every tensor in an output with its path."""
    if isinstance(output, Tensor):
        yield path, output
    elif isinstance(output, Mapping):
        for key, value in output.items():
            yield from tensors_of(value, (*path, key))
    elif isinstance(output, tuple | list):
        for key, value in enumerate(output):
            yield from tensors_of(value, (*path, key))
    elif is_dataclass(output):
        for part in fields(output):
            yield from tensors_of(getattr(output, part.name), (*path, part.name))


def recorded(model: nn.Module, x: Tensor) -> tuple[dict[Key, tuple[int, Tensor]], Any]:
    """Run a forward pass; return {key: (rank of the tensor in its output, copy)} and the model's output."""
    found: dict[Key, tuple[int, Tensor]] = {}
    runs: dict[str, int] = {}

    def hook(name: str) -> Callable[..., None]:
        def note(module: nn.Module, args: Any, output: Any) -> None:
            run = runs[name] = runs.get(name, -1) + 1
            for rank, (path, tensor) in enumerate(tensors_of(output)):
                found[name, run, path] = rank, tensor.detach().clone()

        return note

    handles = [module.register_forward_hook(hook(name)) for name, module in leaves(model).items()]
    try:
        with torch.no_grad():
            output = model(x)
    finally:
        for handle in handles:
            handle.remove()
    return found, output


def floating_leaves(model: nn.Module, x: Tensor) -> list[Leaf]:
    """Return the readings that the library should find, from forward passes of 12, 7 and 5 samples."""
    trials = [recorded(model, x[:size])[0] for size in SIZES]
    found = []
    for key, (rank, tensor) in trials[0].items():
        shapes = [trial[key][1].shape for trial in trials if key in trial]
        axes = axes_of_batch(shapes) if tensor.is_floating_point() else []
        if axes:
            rows = tensor.shape[axes[0]] // SIZES[0]
            found.append(Leaf(key, label(key, rank), axes[0], rows, ambiguous=len(axes) > 1))
    return found


def label(key: Key, rank: int) -> str:
    """Return the name of the layer in the library; the first tensor of an output has the plain name."""
    return key[0] + ("".join(f"[{part}]" for part in key[2]) if rank else "")


def axes_of_batch(shapes: Sequence[torch.Size]) -> list[int]:
    """Return the axes whose size follows the batch size, from the shapes for the three batch sizes."""
    if len(shapes) < len(SIZES) or len({*map(len, shapes)}) > 1:
        return []
    return [axis for axis in range(len(shapes[0])) if _follows([shape[axis] for shape in shapes])]


def _follows(lengths: list[int]) -> bool:
    rows = lengths[0] // SIZES[0]
    return rows > 0 and all(length == rows * size for length, size in zip(lengths, SIZES, strict=True))


def responses(
    model: nn.Module, x: Tensor, elements: tuple[Callable[[Tensor], Tensor], ...], wanted: list[Leaf]
) -> dict[Key, Tensor]:
    """Return (sample, element, *unit) responses of every leaf, one forward pass per sample and element."""
    found: dict[Key, list[Tensor]] = {leaf.key: [] for leaf in wanted}
    for moved in (element(x) for element in elements):
        for sample in range(len(x)):
            notes, _ = recorded(model, moved[sample : sample + 1])
            for leaf in wanted:
                if leaf.key in notes:
                    rows = notes[leaf.key][1].movedim(leaf.axis, 0)
                    found[leaf.key].append(rows[0] if leaf.rows == 1 else rows)
    shape = len(elements), len(x)
    return {
        key: torch.stack(values).unflatten(0, shape).transpose(0, 1)
        for key, values in found.items()
        if len(values) == len(elements) * len(x) and len({value.shape for value in values}) == 1
    }


def undefined(
    model: nn.Module,
    x: Tensor,
    elements: tuple[Callable[[Tensor], Tensor], ...],
    wanted: list[Leaf],
    alone: Mapping[Key, Tensor],
) -> set[Key]:
    """Return leaves whose response to a sample alone differs from that in a batch, for instance at ties."""
    found: set[Key] = set()
    for number, element in enumerate(elements):
        notes, _ = recorded(model, element(x))
        for leaf in wanted:
            if leaf.key in alone:
                rows = notes[leaf.key][1].movedim(leaf.axis, 0)
                found |= set() if same_rows(rows, alone[leaf.key][:, number]) else {leaf.key}
    return found


def same_rows(together: Tensor, alone: Tensor) -> bool:
    """Return whether the rows of a batch, (row, ...), equal those of single samples, (sample[, row], ...).

    The rows of a sample may be consecutive or interleaved with those of other samples.
    """
    together, alone = (torch.where(values.abs() < _MASKED, values, 0) for values in (together, alone))
    orders = [alone]
    if alone.dim() > together.dim():
        orders = [alone.flatten(0, 1), alone.transpose(0, 1).flatten(0, 1)]
    limit = _APART * together.double().square().mean().sqrt()
    return any(rows.shape == together.shape and (rows - together).abs().max() <= limit for rows in orders)
