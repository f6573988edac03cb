"""Errors about samples, batches and fields name what to change."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from toy_inputs import TextModel, texts, tokenized

import invariscope as iv
from invariscope.readers import as_reader

WORDS = [str, str.upper]
TURNS = iv.On(iv.QuarterTurns(), image="value")


class Two(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv = nn.Conv2d(1, 2, 3)

    def forward(self, image: Tensor, more: Tensor) -> Tensor:
        return self.conv(image).mean((2, 3)) + more


def pairs(count: int = 5) -> list[dict[str, Tensor]]:
    g = torch.Generator().manual_seed(0)
    return [
        {"image": torch.rand(1, 6, 6, generator=g), "more": torch.rand(2, generator=g)} for _ in range(count)
    ]


@pytest.mark.parametrize("place", [0, 2, 4])
def test_a_sample_that_lacks_a_field_is_not_blamed_on_the_model(place):
    samples = pairs()
    del samples[place]["more"]
    with pytest.raises(ValueError, match="samples have different fields: only some have 'more'"):
        iv.measure(Two(), samples, TURNS, progress=False)


def test_preprocess_may_choose_among_different_fields():
    samples = [*pairs(), {"image": torch.zeros(1, 6, 6)}]

    def stacked(given):
        return torch.stack([sample["image"] for sample in given])

    assert len(iv.measure(Two().conv, samples, TURNS, preprocess=stacked, progress=False).table)


def test_one_field_of_two_shapes_is_named():
    samples = [*pairs(), {"image": torch.zeros(1, 7, 7), "more": torch.zeros(2)}]
    with pytest.raises(ValueError, match="field 'image' has different shapes"):
        iv.measure(Two(), samples, TURNS, progress=False)


@pytest.mark.parametrize(
    ("samples", "transform", "advice"),
    [
        (["a", "b", "c"], WORDS, "lambda texts: tokenizer"),
        ([pair | {"name": "x"} for pair in pairs()], TURNS, "the model takes$"),
    ],
)
def test_the_example_of_a_preprocess_suits_the_samples(samples, transform, advice):
    with pytest.raises(TypeError, match=f"cannot be stacked into a batch.*{advice}"):
        iv.measure(Two(), samples, transform, progress=False)


def test_a_list_of_batches_is_not_a_batch():
    with pytest.raises(ValueError, match=r"returned 1 row for 2 samples.*collate the samples into one batch"):
        iv.measure(
            TextModel(), texts(4), WORDS, preprocess=lambda given: [tokenized([text]) for text in given]
        )


def test_the_measure_that_needs_tensors_is_named():
    with pytest.raises(TypeError, match=r"^lie_derivative needs each sample to be a single tensor"):
        iv.measure(TextModel(), texts(4), WORDS, measures="lie_derivative", preprocess=tokenized)


def test_an_argument_that_the_batch_lacks_may_come_from_preprocess():
    with pytest.raises(ValueError, match="add the other arguments to the batch in preprocess="):
        iv.measure(Two(), torch.zeros(4, 1, 6, 6), iv.QuarterTurns(), progress=False)


def test_an_unknown_role_is_named_before_its_field():
    with pytest.raises(ValueError, match=r"^unknown role 'vektor'\. Closest: 'vector'.*the field 'image'"):
        iv.On(iv.QuarterTurns(), image="vektor")


def summed(input_ids: Tensor, attention_mask: Tensor) -> dict[str, Tensor]:
    return {"sum": (input_ids * attention_mask).sum(1, keepdim=True).float()}


def test_a_function_may_take_the_fields_of_a_batch():
    words = texts(8)
    found = iv.measure(summed, words, WORDS, preprocess=tokenized, progress=False)
    sums = torch.stack([summed(**tokenized([change(word) for word in words]))["sum"] for change in WORDS], 1)
    expected = sums.double().var(1).mean() / sums.double().var(0).mean()
    assert found.table["value"].item() == pytest.approx(float(expected), rel=1e-6)


def test_a_function_of_several_arguments_is_no_model_of_one_tensor():
    with pytest.raises(TypeError, match="got the function summed, not a model"):
        as_reader(summed)
    with pytest.raises(TypeError, match="not a model"):
        as_reader(lambda: nn.Linear(2, 2), preprocess=tokenized)


def test_pooling_is_left_to_a_function():
    with pytest.raises(TypeError, match="pool= does not apply to functions: pool the rows inside"):
        as_reader(summed, preprocess=tokenized, pool=iv.Pool("mean", mask="attention_mask"))


@pytest.mark.parametrize("later", [False, True])
def test_the_layer_whose_mask_is_wrong_is_named_and_the_model_not_blamed(later):
    def weighted(given: list[str]) -> dict[str, Tensor]:
        batch = tokenized(given)
        marks = batch["attention_mask"] / 2 if len(given) > 3 or not later else batch["attention_mask"]
        return batch | {"marks": marks}

    class Marked(TextModel):
        def forward(self, marks: Tensor, **fields: Tensor) -> dict[str, Tensor]:
            return super().forward(**fields)

    pool = {"*": iv.Pool("mean", mask="marks")}
    with pytest.raises(ValueError, match=r"^pool of layer '\w+': the mask 'marks' must hold 1"):
        iv.measure(Marked(), texts(12), WORDS, preprocess=weighted, pool=pool, batch_size=8, progress=False)


def test_an_unknown_mask_is_named_with_its_layer():
    pool = {"embedding": iv.Pool("mean", mask="attention")}
    with pytest.raises(ValueError, match=r"^pool of layer 'embedding': unknown field 'attention'"):
        iv.measure(TextModel(), texts(4), WORDS, preprocess=tokenized, pool=pool, progress=False)
