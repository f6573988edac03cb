"""Which part of what a model returns is its prediction: one tensor with a row per sample."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor

from invariscope.readers._axes import BatchAxis
from invariscope.readers._outputs import Path, parts_of, pick, tensors_in, unreadable
from invariscope.registry import unknown

OutputChoice: TypeAlias = "str | int | Callable[[Any], Any] | None"
AxisOf: TypeAlias = Callable[[Tensor, Tensor], BatchAxis | str]

_LISTED = 4


@dataclass(frozen=True)
class Prediction:
    """Where the prediction is in what a model returns.

    Args:
        choice: the user's own, applied first: a name, a number or a function.
        path: of the tensor in what was chosen.
        axis: its batch axis.
        shape: of one sample's prediction; without a prediction that of the first tensor, whole.
        dtype: of the same tensor; "" if the model returns no tensor.
        problem: why there is no prediction; "" if there is one.
        note: which part it is, if it is not all that the model returns.
    """

    choice: OutputChoice = None
    path: Path = ()
    axis: BatchAxis = field(default_factory=lambda: BatchAxis(0))
    shape: tuple[int, ...] = ()
    dtype: str = ""
    problem: str = ""
    note: str = ""

    def of(self, returned: Any, batch: int) -> Tensor:
        """Return the (batch, *unit) prediction for `batch` inputs; one number per sample is (batch, 1).

        Raises:
            ValueError: the model returns no prediction, or the tensor has another shape than in the trial.
        """
        if self.problem:
            raise ValueError(self.problem)
        tensor = pick(chosen(returned, self.choice), self.path)
        if not isinstance(tensor, Tensor) or not self.axis.holds(tensor.shape, batch):
            came = f"shape {tuple(tensor.shape)}" if isinstance(tensor, Tensor) else f"{_kind(tensor)}"
            raise ValueError(
                f"the model's {_called(self.choice, self.path)} was {came} for {batch} inputs, and had one "
                f"row per input on axis {self.axis.axis} in the trial forwards. All inputs must have one: "
                "choose another part of the output with output=, or wrap the model"
            )
        found = self.axis.arrange(tensor, batch)
        return found[:, None] if found.ndim == 1 else found


REMEDY = (
    "Say with output= which part is the prediction: a name, a number, or a function from what the model "
    "returns to a tensor with one row per sample (on the command line --output NAME)."
)


def as_output_choice(output: OutputChoice) -> OutputChoice:
    """Check what the user wrote.

    Raises:
        TypeError: neither text, nor a whole number, nor a function.
    """
    right = output is None or callable(output) or isinstance(output, str | int)
    if not right or isinstance(output, bool) or output == "":
        raise TypeError(
            "output= is a name ('logits'), a number (1) or a function of what the model returns; got "
            f"{output!r}"
        )
    return output


def chosen(returned: Any, choice: OutputChoice) -> Any:
    """Return the part of a model's output that a choice stands for.

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
            f"output={choice!r} names a part, but the model returns {_kind(returned)}, without parts"
        )
    if isinstance(choice, str):
        names = {str(name): part for name, part in (*parts, *_fields(returned))}
        if choice not in names:
            raise unknown("output", choice, names, hint=f"The model returns {_kind(returned)}.")
        return names[choice]
    if not -len(parts) <= choice < len(parts):
        raise ValueError(
            f"output={choice} does not exist: the model returns {_kind(returned)} of {len(parts)}"
        )
    return parts[choice][1]


def _fields(returned: Any) -> list[tuple[str, Any]]:
    """The named entries of a named tuple."""
    names = getattr(returned, "_fields", ()) if isinstance(returned, tuple) else ()
    return list(zip(names, returned, strict=True)) if names else []


def _applied(choice: Callable[[Any], Any], returned: Any) -> Any:
    try:
        found = choice(returned)
        return torch.as_tensor(found) if isinstance(found, np.ndarray) else found
    except Exception as error:
        raise ValueError(
            f"output={name_of(choice)} failed on what the model returned, {_kind(returned)}: "
            f"{type(error).__name__}: {error}"
        ) from error


def name_of(choice: OutputChoice) -> str:
    """Return what a choice is called in messages and provenance."""
    return str(getattr(choice, "__qualname__", type(choice).__name__)) if callable(choice) else repr(choice)


def described_choice(choice: OutputChoice) -> str | int | None:
    """Return a choice as plain data, the same in another process: a function by its name and a digest."""
    from invariscope.readers.fingerprint import identify  # which itself needs the inspection's types

    return f"{name_of(choice)} {identify(choice, 'output').digest[:16]}" if callable(choice) else choice


def settle(returned: tuple[Any, Any], choice: OutputChoice, axis: AxisOf, batch: int) -> Prediction:
    """Decide from the outputs of two trial forwards which tensor is the prediction.

    It is the only floating tensor that has a row per sample. The same tensor under two names counts once.

    Args:
        returned: by the forward of the smaller batch, and of the larger.
        choice: the user's.
        axis: from a tensor's values in both to its batch axis, or the reason why it has none.
        batch: size of the larger.
    Raises:
        ValueError: the choice names nothing, or fails.
    """
    small, large = (dict(tensors_in(chosen(whole, choice))) for whole in returned)
    verdicts = {path: _verdict(small.get(path), tensor, axis) for path, tensor in large.items()}
    good = _distinct({path: large[path] for path, found in verdicts.items() if isinstance(found, BatchAxis)})
    if len(good) != 1:
        first = next(iter(large.values()), None)
        about = ((), "") if first is None else (tuple(first.shape), _dtype(first))
        problem = _problem(returned[1], choice, large, verdicts, good, batch)
        return Prediction(choice, (), BatchAxis(0), *about, problem)
    path = good[0]
    found, tensor = verdicts[path], large[path]
    assert isinstance(found, BatchAxis)
    shape = tuple(found.arrange(tensor, batch).shape[1:])
    note = _note(choice, path, shape, {p: v for p, v in verdicts.items() if isinstance(v, str)})
    return Prediction(choice, path, found, shape, _dtype(tensor), note=note)


def _verdict(small: Tensor | None, large: Tensor, axis: AxisOf) -> BatchAxis | str:
    if small is None:
        return "whether it is returned depends on the batch size"
    if problem := unreadable(large):
        return problem
    found = axis(small, large)
    if isinstance(found, BatchAxis) and found.per_sample > 1:
        return f"axis {found.axis} has {found.per_sample} rows per sample"
    return found


def _distinct(tensors: Mapping[Path, Tensor]) -> list[Path]:
    """The paths without those that lead to a tensor that another one leads to."""
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
    """Why none of the tensors is the prediction, or which of them may be it."""
    if not tensors:
        kind = _kind(returned if choice is None else chosen(returned, choice))
        who = "the model" if choice is None else f"what {_called(choice, ())} stands for"
        verb = "returns" if choice is None else "is"
        return f"{who} {verb} no tensor but {kind}. {REMEDY}"
    shown = good or list(tensors)
    listed = [
        f"{_place(path) or 'it'} has shape {tuple(tensors[path].shape)} for {batch} inputs"
        + (f" ({verdicts[path]})" if isinstance(verdicts[path], str) else "")
        for path in shown[:_LISTED]
    ]
    listed += [f"and {len(shown) - _LISTED} more"] if len(shown) > _LISTED else []
    if good:
        names = ", ".join(map(_place, good[:_LISTED]))
        why = f"has several tensors ({names}) with a row per sample, of which any may be the prediction"
    else:
        why = "has no tensor of floating-point values with one row per sample"
    return f"the model's {_called(choice, ())} {why}: {'; '.join(listed)}. {REMEDY}"


def _note(choice: OutputChoice, path: Path, shape: tuple[int, ...], others: Mapping[Path, str]) -> str:
    """Which part the prediction is; "" if it is the whole output."""
    if choice is None and not path:
        return ""
    left = [f"{_place(other)} ({reason})" for other, reason in list(others.items())[:_LISTED]]
    also = f"; not {', '.join(left)}" if left else ""
    return f"predictions are the model's {_called(choice, path)}, {shape} per sample{also}"


def _called(choice: OutputChoice, path: Path) -> str:
    """What a part is called, "output['logits']"."""
    own = "" if choice is None else (f"[{choice!r}]" if not callable(choice) else f" by {name_of(choice)}")
    return f"output{own}{_place(path)}"


def _place(path: Path) -> str:
    return "".join(f"[{key!r}]" for key in path)


def _kind(value: Any) -> str:
    """A value's type, with the shape of a tensor and the names of parts."""
    if isinstance(value, Tensor):
        return f"a tensor {tuple(value.shape)}"
    names = [str(name) for name, _ in parts_of(value)]
    listed = f" ({', '.join(names[:6])}{', ...' if len(names) > 6 else ''})" if names else ""
    return f"{'None' if value is None else 'a ' + type(value).__name__}{listed}"


def _dtype(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")
