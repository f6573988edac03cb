"""A tokenizer that cuts texts off is reported, as far as its result shows it."""

from __future__ import annotations

from collections import UserDict
from types import SimpleNamespace

import pytest
from toy_inputs import TextModel, texts, tokenized

import invariscope as iv

LONGEST = 9  # words in the longest text


class Encoding(UserDict):
    """What fast tokenizers of transformers return: fields, and how each text was encoded."""

    def __init__(self, fields, encodings):
        super().__init__(fields)
        self.encodings = encodings


def tokenizer(limit: int | None, *, fast: bool = True):
    def preprocess(given: list[str]) -> Encoding:
        words = [text.split() for text in given]
        kept = [" ".join(some[:limit]) for some in words]
        cut = [SimpleNamespace(overflowing=some[limit:] if limit else []) for some in words]
        return Encoding(tokenized(kept), cut if fast else None)

    return preprocess


def notes_of(preprocess, model=None, **options) -> list[str]:
    given = {"progress": False, "layers": ["head"]} | options
    result = iv.measure(model or TextModel(), texts(), [str, str.upper], preprocess=preprocess, **given)
    return [note for note in result.provenance["notes"] if "truncated" in note]


def test_texts_that_were_cut_off_are_reported_once():
    (note,) = notes_of(tokenizer(3))
    assert "the tokenizer in preprocess= truncated texts" in note


@pytest.mark.parametrize(
    "preprocess", [tokenizer(None), tokenizer(LONGEST), tokenizer(3, fast=False), tokenized]
)
def test_whole_texts_and_tokenizers_that_do_not_say_are_not(preprocess):
    assert notes_of(preprocess) == []


def test_callables_are_told_apart_in_the_same_way():
    model = TextModel()

    def layers(batch):
        return {"head": model(**batch)["logits"].detach()}

    assert len(notes_of(tokenizer(3), layers, call=lambda function, batch: function(batch))) == 1


class Noting:
    """A preprocess that notes what a reader would not expect."""

    notes = ()

    def __call__(self, given: list[str]):
        self.notes = ("texts were lowered, not truncated",)
        return tokenized([text.lower() for text in given])


def test_what_a_preprocess_notes_itself_is_in_the_result():
    assert notes_of(Noting()) == ["texts were lowered, not truncated"]
