"""The part of a model's output that is its prediction, inferred from two batch sizes."""

from __future__ import annotations

from collections import OrderedDict, namedtuple
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import invariscope as iv
from invariscope.readers import CallableReader, TorchReader, as_reader
from invariscope.readers.prediction import chosen

X = torch.linspace(-1, 1, 30).reshape(5, 6).sin()
Named = namedtuple("Named", "loss logits")


@dataclass
class Plain:
    loss: Any
    logits: Any


@dataclass
class Ordered(OrderedDict):  # a dictionary and a dataclass at once, as outputs of transformers are
    logits: Any = None

    def __post_init__(self) -> None:
        self["logits"] = self.logits


class Ends(nn.Module):
    """A linear layer whose output is dressed up."""

    def __init__(self, ending: Callable[[Tensor], Any]) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.linear = nn.Linear(6, 4)
        self.ending = ending

    def forward(self, x: Tensor) -> Any:
        return self.ending(self.linear(x))


def logits() -> Tensor:
    return Ends(lambda h: h)(X).detach()


def prediction(ending: Callable[[Tensor], Any], output: Any = None, **options: Any) -> Tensor:
    """The prediction for X that a reader finds in the dressed-up output."""
    reader = TorchReader(Ends(ending), output=output, **options)
    found = reader.inspect(X).prediction
    with reader.open() as forward:
        return found.of(forward(X, lambda reading: None), len(X))


def problem(ending: Callable[[Tensor], Any], output: Any = None) -> str:
    inspection = TorchReader(Ends(ending), output=output).inspect(X)
    if inspection.output is not None:
        assert inspection.output.status == inspection.prediction.problem
    return inspection.prediction.problem


ALONE = {
    "a tensor": lambda h: h,
    "behind a loss": lambda h: (h.sum(), h),
    "behind None": lambda h: (None, h),
    "a dictionary with a loss": lambda h: {"loss": h.mean(), "logits": h},
    "a named tuple": lambda h: Named(h.sum(), h),
    "a dataclass": lambda h: Plain(h.sum(), h),
    "a model output": lambda h: Ordered(h),
    "nested": lambda h: {"loss": h.sum(), "heads": [{"logits": h, "classes": h.argmax(1)}]},
    "beside whole numbers": lambda h: (h.argmax(1), h),
    "beside a mask of the weights": lambda h: (h, torch.ones(7, 7)),
    "classes first": lambda h: h.T,
    "the same under two names": lambda h: {"logits": h, "scores": h},
}


@pytest.mark.parametrize("ending", ALONE.values(), ids=ALONE)
def test_the_only_tensor_with_a_row_per_sample_is_the_prediction(ending):
    torch.testing.assert_close(prediction(ending), logits())


def test_one_number_per_sample_is_one_column():
    torch.testing.assert_close(prediction(lambda h: h[:, 0]), logits()[:, :1])


NONE = {
    "a list with a dictionary per sample": (
        lambda h: [{"boxes": r, "n": r[:2]} for r in h],
        r"\[0\]\['boxes'\] has",
    ),
    "rows of several things": (
        lambda h: h.reshape(-1, 2),
        r"shape \(6, 2\) for 3 inputs \(axis 0 has 2 rows",
    ),
    "numbers of several things": (lambda h: h.reshape(-1), r"shape \(12,\) for 3 inputs"),
    "the first sample's values": (lambda h: h[0], r"shape \(4,\) for 3 inputs \(no axis follows"),
    "no axis": (lambda h: h.sum(), r"shape \(\) for 3 inputs \(no axis follows the batch size\)"),
    "two axes": (lambda h: h @ h.T, "axes 0 and 1 both follow the batch size"),
    "complex": (lambda h: torch.complex(h, h), "complex64"),
    "whole numbers": (lambda h: h.argmax(1), "int64"),
    "text": (lambda h: "cat", r"returns no tensor \(got a str\)"),
    "nothing": (lambda h: None, r"returns no tensor \(got None\)"),
    "an empty dictionary": (lambda h: {}, r"returns no tensor \(got a dict\)"),
}


@pytest.mark.parametrize(("ending", "said"), NONE.values(), ids=NONE)
def test_an_output_without_a_row_per_sample_has_no_prediction_and_says_why(ending, said):
    with pytest.raises(ValueError, match=said) as caught:
        iv.measure(Ends(ending), X, [lambda v: v, torch.neg], measures=["consistency"], progress=False)
    assert str(caught.value) == problem(ending)
    assert "to select the prediction" in str(caught.value)


def test_several_tensors_with_a_row_per_sample_are_listed_with_their_shapes():
    said = problem(lambda h: {"loss": h.sum(), "logits": h, "features": h[:, :2] * 2})
    assert "several tensors with one row per sample" in said
    assert "['logits'] has shape (3, 4) for 3 inputs; ['features'] has shape (3, 2) for 3 inputs" in said
    assert "loss" not in said


BOTH = lambda h: {"features": h[:, :2] * 2, "logits": h}  # noqa: E731
CHOICES = {
    "a name": (BOTH, "logits"),
    "a number": (BOTH, 1),
    "a number from the end": (lambda h: (h * 2, h), -1),
    "a field of a named tuple": (lambda h: Named(h * 2, h), "logits"),
    "a field of a dataclass": (lambda h: Plain(h * 2, h), "logits"),
    "a function": (BOTH, lambda out: out["logits"]),
    "a function that stacks": (lambda h: list(h), torch.stack),
    "a function that leaves one": (lambda h: (h * 2, [h.sum(), h]), lambda out: out[1]),
    "a function to an array": (lambda h: (h * 2, h), lambda out: out[1].numpy()),
}


@pytest.mark.parametrize(("ending", "output"), CHOICES.values(), ids=CHOICES)
def test_output_selects_the_prediction(ending, output):
    torch.testing.assert_close(prediction(ending, output), logits())


@pytest.mark.parametrize(
    ("output", "said"),
    [
        (
            "logit",
            r"unknown output 'logit'\. Closest: 'logits'\. The model returns a dict \(features, logits\)",
        ),
        (2, r"output=2 is out of range: the model returns a dict \(features, logits\) of length 2"),
        (lambda out: out["x"], r"output=<lambda> failed on the model's output, a dict .*KeyError: 'x'"),
    ],
    ids=["name", "number", "function"],
)
def test_a_choice_that_matches_nothing_is_an_error(output, said):
    with pytest.raises(ValueError, match=said.replace("<lambda>", ".*<lambda>")):
        TorchReader(Ends(BOTH), output=output).inspect(X)


def test_a_part_of_a_single_tensor_is_an_error():
    with pytest.raises(ValueError, match=r"the model returns a tensor of shape \(2, 4\), which has no parts"):
        TorchReader(Ends(lambda h: h), output=0).inspect(X)


@pytest.mark.parametrize("output", [True, 1.5, "", ["logits"]])
def test_a_choice_of_another_type_is_an_error(output):
    for make in (TorchReader, CallableReader):
        with pytest.raises(TypeError, match="output must be a name"):
            make(Ends(BOTH), output=output)


def test_a_choice_without_a_row_per_sample_says_so():
    said = problem(lambda h: {"loss": h.sum(), "logits": h}, "loss")
    assert said.startswith("the model's output['loss'] has no floating-point tensor with one row")


def test_batch_axis_settles_an_output_whose_axes_both_follow_the_batch():
    ending = lambda h: h @ h.T + torch.arange(len(h))  # noqa: E731
    whole = ending(logits())
    torch.testing.assert_close(prediction(ending, batch_axis={"output": 1}), whole.T)


def test_an_output_that_changes_its_shape_later_is_an_error():
    model = Ends(lambda h: h)
    found = TorchReader(model).inspect(X).prediction
    with pytest.raises(
        ValueError, match=r"output is a tensor of shape \(4, 4\) for 5 inputs, but had one row"
    ):
        found.of(model(X)[:4], 5)
    with pytest.raises(ValueError, match="output is None for 5 inputs"):
        found.of(None, 5)


def test_the_prediction_of_a_callable_is_output_else_the_last_entry_with_a_row_per_sample():
    def predicted(function: Any, **options: Any) -> Tensor:
        reader = CallableReader(function, **options)
        found = reader.inspect(X).prediction
        with reader.open() as forward:
            return found.of(forward(X, lambda reading: None), len(X))

    both = lambda x: {"a": x, "b": x * 2, "loss": x.sum()}  # noqa: E731
    torch.testing.assert_close(predicted(both), X * 2)
    torch.testing.assert_close(predicted(lambda x: {"output": x, "b": x * 2}), X)
    torch.testing.assert_close(predicted(both, output="a"), X)
    torch.testing.assert_close(predicted(both, output=0), X)
    torch.testing.assert_close(predicted(both, output=lambda found: found["a"] * 3), X * 3)
    with pytest.raises(ValueError, match=r"output\['loss'\] has no floating-point tensor"):
        predicted(both, output="loss")


def test_the_error_for_a_callable_that_returns_a_tuple_says_what_to_return():
    with pytest.raises(
        ValueError, match=r"must be an array of numbers, got tuple: return an array, or \{layer"
    ):
        CallableReader(lambda x: (x.sum(), x)).inspect(X)


def test_a_reader_keeps_its_own_choice():
    with pytest.raises(TypeError, match="a reader is created with its own"):
        as_reader(TorchReader(Ends(BOTH)), output="logits")


def test_choices_are_fields_keys_and_indices():
    assert chosen(Named(1, 2), "logits") == chosen({"logits": 2}, "logits") == chosen([1, 2], 1) == 2
