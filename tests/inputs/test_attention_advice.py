"""Attention weights have tokens on two axes, so that no pool is recommended for them."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from toy_inputs import texts, tokenized

import invariscope as iv


class Attending(nn.Module):
    """Weights (head, token, token) or (token, token) as a layer of their own, and one row per token."""

    def __init__(self, heads: int | None) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.embedding, self.weights, self.head = nn.Embedding(200, 4), nn.Softmax(-1), nn.Linear(4, 3)
        self.heads = heads

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        x = self.embedding(input_ids)
        scores = (x @ x.mT).masked_fill(attention_mask[:, None] == 0, -1e4)
        if self.heads:
            scores = scores[:, None].expand(-1, self.heads, -1, -1)
        found = self.weights(scores)
        mixed = (found.mean(1) if self.heads else found) @ x
        mask = attention_mask[..., None].to(mixed.dtype)
        return self.head((mixed * mask).sum(1) / mask.sum(1))


def measured(heads, given, preprocess):
    model, options = Attending(heads), {"layers": ["embedding", "weights", "head"], "progress": False}
    return iv.measure(model, given, [str, str.upper], preprocess=preprocess, **options)


@pytest.mark.parametrize("heads", [None, 2])
def test_weights_of_texts_of_different_lengths_get_no_advice_to_pool(heads):
    skipped = measured(heads, texts(), tokenized).provenance["skipped"]
    reasons = {entry["layer"]: entry["reason"] for entry in skipped}
    assert "as in attention weights" in reasons["weights"]
    assert "Pool(" not in reasons["weights"]
    assert "iv.Pool('mean', mask='attention_mask')" in reasons["embedding"]


def to_one_length(given: list[str]) -> dict[str, Tensor]:
    found = tokenized([*given, "a " * 10])  # 10 words: the longest
    return {name: field[:-1] for name, field in found.items()}


@pytest.mark.parametrize("heads", [None, 2])
def test_weights_of_texts_padded_to_one_length_get_none_either(heads):
    notes = measured(heads, texts(), to_one_length).provenance["notes"]
    (note,) = [note for note in notes if "include padding" in note]
    assert "'embedding'" in note
    assert "'weights'" not in note
