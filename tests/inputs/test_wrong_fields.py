"""A batch whose fields a model does not take: the error lists what it takes."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from toy_inputs import TextModel, texts, tokenized

import invariscope as iv


def renamed(**names: str):
    def preprocess(given: list[str]) -> dict[str, Tensor]:
        return {names.get(name, name): field for name, field in tokenized(given).items()}

    return preprocess


def measured(model=None, **options):
    given = {"output": "logits", "measures": "prediction", "progress": False} | options
    return iv.measure(model or TextModel(), (texts(20), torch.arange(20) % 3), [str, str.upper], **given)


def test_an_unknown_field_is_named_with_those_that_the_model_takes_and_the_closest():
    with pytest.raises(ValueError, match="failed") as caught:
        measured(preprocess=renamed(attention_mask="atention_mask"))
    text = str(caught.value)
    assert "takes 'input_ids', 'attention_mask'; the batch also has 'atention_mask'" in text
    assert "Closest to 'atention_mask': 'attention_mask'" in text
    assert "call=lambda model, batch" in text


def test_a_field_too_many_has_no_closest_if_all_others_are_there():
    def with_more(given):
        return tokenized(given) | {"token_type_ids": torch.zeros(len(given), 1)}

    with pytest.raises(ValueError, match="the batch also has 'token_type_ids'") as caught:
        measured(preprocess=with_more)
    assert "Closest" not in str(caught.value)


class Anything(TextModel):
    def forward(self, **fields: Tensor) -> dict[str, Tensor]:
        return super().forward(**{name: fields[name] for name in ("input_ids", "attention_mask")})


def test_a_model_that_takes_any_keyword_is_left_alone():
    with pytest.raises(ValueError, match="KeyError: 'attention_mask'") as caught:
        measured(Anything(), preprocess=renamed(attention_mask="mask"))
    assert "takes" not in str(caught.value)


class Inner(nn.Module):
    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        return torch.zeros(len(input_ids)).sum(wrong=1)


def test_an_error_inside_the_model_is_not_blamed_on_the_batch():
    with pytest.raises(ValueError, match="failed") as caught:
        measured(Inner(), preprocess=tokenized, output=None)
    assert "the batch also has" not in str(caught.value)
