"""The oracle: what the leaf modules of a model return, by hooks that know nothing of the library."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.architectures.catalogue import SAMPLES

# A leaf, too: these compute with their children's weights without calling them.
_WHOLE = (nn.MultiheadAttention, nn.RNNBase, nn.RNNCellBase)

_APART = 1e-4  # of a tensor's rms: rounding is less, and another sample's rows are further away
_MASKED = 1e30

SIZES = SAMPLES, 7, 5
"""Of the batches that show which axis follows the batch."""

Key = tuple[str, int, tuple[Any, ...]]
"""Layer, number of its run within the forward, and place of the tensor in what it returned."""


@dataclass(frozen=True, eq=False)
class Leaf:
    """One floating tensor with a batch axis that a leaf module returns.

    Args:
        key: what identifies it.
        label: the layer's name as the library has it: the first tensor of an output goes by the plain name.
        axis: where its samples are.
        rows: rows per sample on that axis.
        ambiguous: other axes follow the batch too.
    """

    key: Key
    label: str
    axis: int
    rows: int
    ambiguous: bool


def leaves(model: nn.Module) -> dict[str, nn.Module]:
    """Modules without children; the parametrizations of a weight are no children of a layer."""
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
    """Every tensor in an output, with its place."""
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
    """One forward: {key: (rank of the tensor in its output, copy of the tensor)}, and the model's output."""
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
    """The readings that the library should have: found from forwards of 12, 7 and 5 samples."""
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
    """A tensor's layer as the library has it: the first of an output goes by the plain name."""
    return key[0] + ("".join(f"[{part}]" for part in key[2]) if rank else "")


def axes_of_batch(shapes: Sequence[torch.Size]) -> list[int]:
    """The axes that follow the batch, from the shapes of a tensor in batches of the three sizes."""
    if len(shapes) < len(SIZES) or len({*map(len, shapes)}) > 1:
        return []
    return [axis for axis in range(len(shapes[0])) if _follows([shape[axis] for shape in shapes])]


def _follows(lengths: list[int]) -> bool:
    rows = lengths[0] // SIZES[0]
    return rows > 0 and all(length == rows * size for length, size in zip(lengths, SIZES, strict=True))


def responses(
    model: nn.Module, x: Tensor, elements: tuple[Callable[[Tensor], Tensor], ...], wanted: list[Leaf]
) -> dict[Key, Tensor]:
    """(sample, element, *unit) responses of every leaf, one forward for each moved sample alone."""
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
    """Leaves that respond to a sample otherwise in a batch than alone, as if rounding breaks a tie."""
    found: set[Key] = set()
    for number, element in enumerate(elements):
        notes, _ = recorded(model, element(x))
        for leaf in wanted:
            if leaf.key in alone:
                rows = notes[leaf.key][1].movedim(leaf.axis, 0)
                found |= set() if same_rows(rows, alone[leaf.key][:, number]) else {leaf.key}
    return found


def same_rows(together: Tensor, alone: Tensor) -> bool:
    """Whether (row, ...) of a batch are the (sample, ...) or (sample, row, ...) of its samples alone.

    The rows of a sample may lie together, or those of all samples in turns.
    """
    together, alone = (torch.where(values.abs() < _MASKED, values, 0) for values in (together, alone))
    orders = [alone]
    if alone.dim() > together.dim():
        orders = [alone.flatten(0, 1), alone.transpose(0, 1).flatten(0, 1)]
    limit = _APART * together.double().square().mean().sqrt()
    return any(rows.shape == together.shape and (rows - together).abs().max() <= limit for rows in orders)
