"""Find the prediction in a model's output: a tensor with one row per sample."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor

from invariscope.common.registry import unknown
from invariscope.common.wording import listed
from invariscope.readers.torch.axes import BatchAxis
from invariscope.readers.torch.outputs import Path, dtype_name, parts_of, pick, tensors_in, unreadable

OutputChoice: TypeAlias = "str | int | Callable[[Any], Any] | None"
AxisOf: TypeAlias = Callable[[Tensor, Tensor], BatchAxis | str]

_LISTED = 4


@dataclass(frozen=True)
class PredictionSelector:
    """The position of the prediction in a model's output.

    Args:
        choice: the user's selection, applied first: a name, an index or a function.
        path: path to the tensor in the selected part.
        axis: batch axis of the tensor.
        shape: shape of one sample's prediction; if there is no prediction, shape of the whole first tensor.
        dtype: dtype of the same tensor; "" if the model returns no tensor.
        problem: why there is no prediction; "" if there is one.
        note: which part is the prediction, if it is not the whole output.
    """

    choice: OutputChoice = None
    path: Path = ()
    axis: BatchAxis = field(default_factory=lambda: BatchAxis(0))
    shape: tuple[int, ...] = ()
    dtype: str = ""
    problem: str = ""
    note: str = ""

    def of(self, returned: Any, batch: int) -> Tensor:
        """Return the (batch, *unit) prediction for `batch` inputs; (batch, 1) for one number per sample.

        Raises:
            ValueError: the model returns no prediction, or its shape differs from the trial forward passes.
        """
        if self.problem:
            raise ValueError(self.problem)
        tensor = pick(chosen(returned, self.choice), self.path)
        if not isinstance(tensor, Tensor) or not self.axis.holds(tensor.shape, batch):
            part = _part_name(self.choice, self.path)
            raise ValueError(
                f"the model's {part} is {_kind(tensor)} for {batch} inputs, but had one row per input on "
                f"axis {self.axis.axis} in the trial forward passes. Every input needs a row: select another "
                "part with output=, or wrap the model"
            )
        found = self.axis.arrange(tensor, batch)
        return found[:, None] if found.ndim == 1 else found


REMEDY = (
    "Pass output= (--output NAME on the command line) to select the prediction: a name, an index, or a "
    "function of the model's output that returns a tensor with one row per sample."
)


def as_output_choice(output: OutputChoice) -> OutputChoice:
    """Check and return the user's selection of the prediction.

    Raises:
        TypeError: not a string, an integer or a function.
    """
    right = output is None or callable(output) or isinstance(output, str | int)
    if not right or isinstance(output, bool) or output == "":
        several = isinstance(output, list | tuple) and len(output) > 0
        advice = (
            ". A measurement has one prediction; read further parts as layers, layers=['Net', 'Net[forces]'] "
            "or layers='*forces*', or join them with a function"
        )
        raise TypeError(
            "output must be a name ('logits'), an index (1) or a function of the model's output; got "
            f"{output!r}{advice if several else ''}"
        )
    return output


def chosen(returned: Any, choice: OutputChoice) -> Any:
    """Return the part of a model's output that a choice selects.

    Raises:
        ValueError: there is no such part, or the function failed.

    >>> chosen({"loss": 1.0, "logits": 2.0}, "logits"), chosen((None, 3.0), -1), chosen([4.0], len)
    (2.0, 3.0, 1)
    """
    if choice is None:
        return returned
    if callable(choice):
        return _applied(choice, returned)
    parts = parts_of(returned)
    if not parts:
        raise ValueError(
            f"output={choice!r} selects a part, but the model returns {_kind(returned)}, which has no parts"
        )
    if isinstance(choice, str):
        names = {str(name): part for name, part in (*parts, *_fields(returned))}
        if choice not in names:
            raise unknown("output", choice, names, hint=f"The model returns {_kind(returned)}.")
        return names[choice]
    if not -len(parts) <= choice < len(parts):
        raise ValueError(
            f"output={choice} is out of range: the model returns {_kind(returned)} of length {len(parts)}"
        )
    return parts[choice][1]


def _fields(returned: Any) -> list[tuple[str, Any]]:
    """Return the entries of a named tuple by name; empty for anything else."""
    names = getattr(returned, "_fields", ()) if isinstance(returned, tuple) else ()
    return list(zip(names, returned, strict=True)) if names else []


def _applied(choice: Callable[[Any], Any], returned: Any) -> Any:
    try:
        found = choice(returned)
        return torch.as_tensor(found) if isinstance(found, np.ndarray) else found
    except Exception as error:
        raise ValueError(
            f"output={name_of(choice)} failed on the model's output, {_kind(returned)}, with "
            f"{type(error).__name__}: {error}"
        ) from error


def name_of(choice: OutputChoice) -> str:
    """Return the name of a choice for messages and provenance."""
    return str(getattr(choice, "__qualname__", type(choice).__name__)) if callable(choice) else repr(choice)


def described_choice(choice: OutputChoice) -> str | int | None:
    """Return a choice as plain data, equal in every process: a function by its name and a digest."""
    from invariscope.readers.fingerprint import identify  # circular

    return f"{name_of(choice)} {identify(choice, 'output').digest[:16]}" if callable(choice) else choice


def find_prediction(
    returned: tuple[Any, Any], choice: OutputChoice, axis: AxisOf, batch: int
) -> PredictionSelector:
    """Find the prediction in the outputs of two trial forward passes.

    The prediction is the only floating-point tensor with one row per sample. A tensor that the model returns
    under two names counts once.

    Args:
        returned: outputs for the smaller and the larger batch.
        choice: the user's selection.
        axis: function that returns a tensor's batch axis, or why it has none, from its values in both
            batches.
        batch: size of the larger batch.
    Raises:
        ValueError: the choice selects nothing, or fails.
    """
    small, large = (dict(tensors_in(chosen(whole, choice))) for whole in returned)
    verdicts = {path: one_row_axis(small.get(path), tensor, axis) for path, tensor in large.items()}
    good = _distinct({path: large[path] for path, found in verdicts.items() if isinstance(found, BatchAxis)})
    if len(good) != 1:
        first = next(iter(large.values()), None)
        about = ((), "") if first is None else (tuple(first.shape), dtype_name(first))
        problem = _problem(returned[1], choice, large, verdicts, good, batch)
        return PredictionSelector(choice, (), BatchAxis(0), *about, problem)
    path = good[0]
    found, tensor = verdicts[path], large[path]
    assert isinstance(found, BatchAxis)
    shape = tuple(found.arrange(tensor, batch).shape[1:])
    note = _note(choice, path, shape, {p: v for p, v in verdicts.items() if isinstance(v, str)})
    return PredictionSelector(choice, path, found, shape, dtype_name(tensor), note=note)


def one_row_axis(small: Tensor | None, large: Tensor, axis: AxisOf) -> BatchAxis | str:
    """Return the batch axis of a tensor with one row per sample, or why the tensor has no such axis."""
    if small is None:
        return "whether it is returned depends on the batch size"
    if problem := unreadable(large):
        return problem
    found = axis(small, large)
    if isinstance(found, BatchAxis) and found.per_sample > 1:
        return f"axis {found.axis} has {found.per_sample} rows per sample"
    return found


def _distinct(tensors: Mapping[Path, Tensor]) -> list[Path]:
    """Return one path per distinct tensor."""
    seen: dict[tuple[Any, ...], Path] = {}
    for path, tensor in tensors.items():
        seen.setdefault((tensor.data_ptr(), tensor.shape, tensor.stride(), tensor.dtype), path)
    return list(seen.values())


def _problem(
    returned: Any,
    choice: OutputChoice,
    tensors: Mapping[Path, Tensor],
    verdicts: Mapping[Path, BatchAxis | str],
    good: list[Path],
    batch: int,
) -> str:
    """Return why there is no single prediction."""
    if not tensors:
        kind = _kind(returned if choice is None else chosen(returned, choice))
        subject = "the model returns" if choice is None else f"the model's {_part_name(choice, ())} holds"
        return f"{subject} no tensor (got {kind}). {REMEDY}"
    described = (
        f"{_place(path) or 'it'} has shape {tuple(tensors[path].shape)} for {batch} inputs"
        + (f" ({verdicts[path]})" if isinstance(verdicts[path], str) else "")
        for path in good or tensors
    )
    if good:
        why = "has several tensors with one row per sample, any of which may be the prediction"
    else:
        why = "has no floating-point tensor with one row per sample"
    return f"the model's {_part_name(choice, ())} {why}: {listed(described, separator='; ')}. {REMEDY}"


def _note(choice: OutputChoice, path: Path, shape: tuple[int, ...], others: Mapping[Path, str]) -> str:
    """Return a note on which part is the prediction; "" if it is the whole output."""
    if choice is None and not path:
        return ""
    left = [f"{_place(other)} ({reason})" for other, reason in list(others.items())[:_LISTED]]
    also = f"; not {', '.join(left)}" if left else ""
    return f"predictions are read from the model's {_part_name(choice, path)}, {shape} per sample{also}"


def _part_name(choice: OutputChoice, path: Path) -> str:
    """Return the name of a part: "output['logits']"."""
    own = "" if choice is None else (f"[{choice!r}]" if not callable(choice) else f" by {name_of(choice)}")
    return f"output{own}{_place(path)}"


def _place(path: Path) -> str:
    return "".join(f"[{key!r}]" for key in path)


def _kind(value: Any) -> str:
    """Describe a value's type, with the shape of a tensor and the names of parts."""
    if isinstance(value, Tensor):
        return f"a tensor of shape {tuple(value.shape)}"
    names = [name for name, _ in parts_of(value) if isinstance(name, str)]
    held = f" ({listed(names, limit=6)})" if names else ""
    return f"{'None' if value is None else 'a ' + type(value).__name__}{held}"
