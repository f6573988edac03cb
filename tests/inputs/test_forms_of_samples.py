"""Forms in which structured samples come: folders, loaders with samplers, streams of lists."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch
from test_odd_samples import MASKED, SHOUTS, Listed, quiet, values
from torch import nn
from torch.utils.data import DataLoader, IterableDataset, SubsetRandomSampler, WeightedRandomSampler
from toy_inputs import TextModel, texts, tokenized

import invariscope as iv

ROWS = [{"text": text, "label": k % 3} for k, text in enumerate(texts())]
measured = partial(
    quiet,
    TextModel(),
    transform=iv.On(iv.Elements([str, str.upper], identity=0), text=lambda t, k: (str, str.upper)[k](t)),
    preprocess=lambda given: tokenized([sample["text"] for sample in given]),
    pool=MASKED,
    by_class=True,
)


class Arriving(IterableDataset):
    """Items without a length."""

    def __init__(self, items: list) -> None:
        self.items = items

    def __iter__(self):
        return iter(self.items)


def parted(rows: list, size: int = 7) -> list[list]:
    return [rows[start : start + size] for start in range(0, len(rows), size)]


def _unlabelled(rows: list[dict]) -> tuple[list, list]:
    return [{"text": row["text"]} for row in rows], [row["label"] for row in rows]


@pytest.mark.parametrize(
    "form",
    [Listed, Arriving, parted, lambda rows: map(_unlabelled, parted(rows))],
    ids=["dataset", "iterable dataset", "list of lists", "stream of lists and labels"],
)
def test_the_form_of_samples_changes_no_number(form):
    assert values(measured(form(ROWS))) == pytest.approx(values(measured(ROWS)), rel=1e-6)


def test_texts_and_labels_that_a_loader_collated_are_told_apart():
    items = [(row["text"], row["label"]) for row in ROWS]
    options = {"preprocess": tokenized, "pool": MASKED, "by_class": True}
    result = quiet(TextModel(), DataLoader(Arriving(items), batch_size=7), SHOUTS, **options)
    assert values(result) == pytest.approx(values(measured(ROWS)), rel=1e-6)


@pytest.mark.parametrize("kind", [SubsetRandomSampler, list], ids=["random", "list"])
def test_a_sampler_of_some_samples_selects_them(kind):
    chosen = [int(place) for place in np.random.default_rng(0).permutation(72)[:40]]
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    result = measured(DataLoader(Listed(ROWS), batch_size=5, sampler=kind(chosen), collate_fn=None))
    assert torch.equal(before, torch.random.get_rng_state())
    assert result.provenance["data"]["samples"] == 40
    expected = measured([ROWS[place] for place in chosen])
    assert values(result) == pytest.approx(values(expected), rel=1e-6)


def test_a_sampler_that_repeats_samples_is_followed():
    torch.manual_seed(0)
    sampler = WeightedRandomSampler([1.0] * 8 + [0.0] * 64, 30)
    result = measured(DataLoader(Listed(ROWS), batch_size=5, sampler=sampler))
    assert result.provenance["data"]["samples"] == 30


def test_a_collate_function_that_misses_a_label_equal_for_all_is_told_where_it_is():
    def collate(given):
        return tokenized([row["text"] for row in given]) | {"y": [row["label"] for row in given]}

    rows = [{**row, "label": 1} for row in ROWS]
    with pytest.raises(ValueError, match=r"KeyError: 'label'\. Labels are removed .* collate_fn"):
        measured(DataLoader(Listed(rows), batch_size=5, collate_fn=collate), preprocess=None)


def _folder(path, count: int = 6):
    image = pytest.importorskip("PIL.Image")
    generator = np.random.default_rng(0)
    for name in ("cat", "dog"):
        (path / name).mkdir()
        for k in range(count):
            image.fromarray(generator.integers(0, 256, (6, 6, 3), dtype=np.uint8)).save(
                path / name / f"{k}.png"
            )
    return path


def _pixels(given: list) -> torch.Tensor:
    return torch.stack([torch.from_numpy(np.array(p)).permute(2, 0, 1).float() / 255 for p in given])


def test_subfolders_of_images_are_the_labels(tmp_path):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 2, 3), nn.Flatten(), nn.Linear(32, 2))
    folder = _folder(tmp_path)
    result = quiet(model, str(folder), iv.QuarterTurns(), preprocess=_pixels, by_class=True)
    assert {row["stratum"] for row in result.rows} == {"all", "cat", "dog", "mean"}
    (folder / "cat" / "broken.png").write_bytes(b"nothing")
    with pytest.raises(ValueError, match=r"broken\.png cannot be read as an image"):
        quiet(model, folder, iv.QuarterTurns(), preprocess=_pixels)


def test_padded_layers_are_found_whatever_the_lengths_in_characters():
    def of_words(count: int, letters: int) -> str:
        return " ".join(["a" * letters] * count)

    many = [of_words(4, 1 + k % 3) for k in range(15)] + [of_words(1, 1)]
    for order in (many, many[::-1]):
        result = quiet(TextModel(), Listed(order), SHOUTS, preprocess=tokenized, samples=16)
        skipped = {entry["layer"] for entry in result.provenance["skipped"]}
        assert {"embedding", "mixer"} <= skipped


def test_layers_of_constant_length_that_hold_padding_are_noted_with_the_pool_to_use():
    def to_one_length(given):
        return {name: field[:-1] for name, field in tokenized([*given, " ".join("abcdefghijkl")]).items()}

    measured_layers = partial(quiet, TextModel(), texts(), SHOUTS, preprocess=to_one_length)
    plain = " ".join(measured_layers(layers=["mixer", "head"]).provenance["notes"])
    assert "units of 'mixer' include padding, which 'attention_mask' marks; pool" in plain
    pooled = measured_layers(layers=["mixer", "head"], pool=MASKED)
    assert "padding" not in " ".join(pooled.provenance["notes"])
