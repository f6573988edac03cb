"""A loader's collate_fn that wants the label of each sample gets one, which the model does not."""

from __future__ import annotations

import pytest
import torch
from torch.utils.data import DataLoader, Dataset
from toy_inputs import TextModel, texts, tokenized

import invariscope as iv

SHOUTS = [str, str.upper]
LABELS = [k % 3 for k in range(72)]


class Listed(Dataset):
    def __init__(self, items: list) -> None:
        self.items = items

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, place: int) -> object:
        return self.items[place]


PAIRS = list(zip(texts(), LABELS, strict=True))
ROWS = [{"text": text, "label": label} for text, label in PAIRS]


def measured(data, transform=SHOUTS, **options):
    given = {"measures": ["nv", "prediction"], "output": "logits", "progress": False, "layers": ["head"]}
    return iv.measure(TextModel(), data, transform, **given | options)


def values(result) -> list[float]:
    return [row.value for row in result.rows]


def expected() -> list[float]:
    return values(measured((texts(), torch.tensor(LABELS)), preprocess=tokenized))


def of_pairs(items):
    words, labels = zip(*items, strict=True)
    return tokenized(list(words)), torch.tensor(labels)


def of_pairs_with_field(items):
    words, labels = zip(*items, strict=True)
    return {**tokenized(list(words)), "targets": torch.tensor(labels)}


@pytest.mark.parametrize("collate", [of_pairs, of_pairs_with_field])
def test_pairs_are_collated_as_in_the_loader_and_the_labels_are_left_out(collate):
    loader = DataLoader(Listed(PAIRS), batch_size=5, collate_fn=collate)
    assert values(measured(loader)) == pytest.approx(expected(), rel=1e-6)


def test_fields_get_their_label_back():
    def collate(rows):
        return {**tokenized([row["text"] for row in rows]), "y": torch.tensor([row["label"] for row in rows])}

    moves = iv.On(iv.Elements(SHOUTS), "text")
    loader = DataLoader(Listed(ROWS), batch_size=5, collate_fn=collate)
    assert values(measured(loader, moves)) == pytest.approx(expected(), rel=1e-6)


def test_a_collate_function_that_draws_is_not_mistaken_for_one_that_mixes_labels_in():
    def collate(items):
        batch, labels = of_pairs(items)
        torch.rand(3)
        return {**batch, "noise": torch.rand(len(items)), "y": labels}

    loader = DataLoader(Listed(PAIRS), batch_size=5, collate_fn=collate)
    result = measured(loader, call=lambda model, batch: model(batch["input_ids"], batch["attention_mask"]))
    assert values(result) == pytest.approx(expected(), rel=1e-6)


def test_a_batch_that_depends_on_labels_as_a_whole_is_refused():
    def collate(items):
        return tokenized([f"{label} {text}" for text, label in items])

    loader = DataLoader(Listed(PAIRS), batch_size=5, collate_fn=lambda items: collate(items)["input_ids"])
    with pytest.raises(ValueError, match=r"depends on the labels.*give preprocess="):
        measured(loader)


def test_labels_that_are_all_equal_are_no_hindrance_if_the_function_does_not_need_them():
    rows = [{"text": text, "label": 1} for text in texts()]
    loader = DataLoader(Listed(rows), collate_fn=lambda given: tokenized([row["text"] for row in given]))
    assert len(measured(loader, iv.On(iv.Elements(SHOUTS), "text"), measures="nv").rows) == 1
