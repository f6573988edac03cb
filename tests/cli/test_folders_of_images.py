"""Folders of images on the command line, for own models and for models with their own preprocessing."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import invariscope as iv

CLASSES = ("cat", "dog", "emu")
COLOUR = """
import torch
from torch import nn


def make():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(16, 3))


def processed(images):
    return torch.stack([torch.tensor(list(image.resize((8, 8)).tobytes())).view(8, 8, 3) for image in images]
                       ).permute(0, 3, 1, 2) / 255
"""


@pytest.fixture
def photos(workplace):
    def make(*sizes: tuple[int, int]) -> None:
        Path("colour.py").write_text(COLOUR)
        generator = np.random.default_rng(0)
        for place in range(12):
            size = sizes[place % len(sizes)]
            file = Path("photos", CLASSES[place % 3], f"{place}.png")
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(generator.integers(0, 256, (*size, 3), dtype=np.uint8)).save(file)

    return make


def test_an_own_model_needs_no_preprocessing_for_images_of_one_size(photos, invoke):
    photos((16, 16))
    done = invoke("measure", "colour.py:make", "photos", "-t", "quarter_turns", "--by-class", "--out", "r")
    assert done.exit_code == 0, done.output
    assert {row["stratum"] for row in iv.load("r").rows} == {"all", "mean", *CLASSES}


def test_an_own_model_takes_images_of_several_sizes_with_size(photos, invoke, fails):
    photos((16, 24), (20, 16))
    command = ("measure", "colour.py:make", "photos", "-t", "quarter_turns")
    assert "different sizes (16 × 24, 20 × 16)" in fails(*command)
    done = invoke(*command, "--size", "16", "--out", "r")
    assert done.exit_code == 0, done.output
    assert "3, 16, 16" in str(iv.load("r").provenance["data"]["shape"])


def test_images_that_are_not_square_say_what_to_give(photos, fails):
    photos((16, 24))
    said = fails("measure", "colour.py:make", "photos", "-t", "quarter_turns")
    assert "QuarterTurns needs square images, and photos holds 16 × 24: give the size" in said


def test_functions_that_convert_images_get_central_squares_where_the_transform_needs_them(photos, invoke):
    photos((16, 24), (20, 16))
    command = ("measure", "colour.py:make", "photos", "--preprocess", "colour.py:processed", "-t")
    for transform, note in (("quarter_turns", True), ("Rotation.circle(4)", False)):
        done = invoke(*command, transform, "--out", transform)
        assert done.exit_code == 0, done.output
        notes = iv.load(transform).provenance["notes"]
        assert ("images were cropped to their central squares, which QuarterTurns needs" in notes) == note


def test_a_model_by_name_brings_its_preprocessing_for_photographs(photos, invoke, monkeypatch):
    def transform(image):
        return torch.from_numpy(np.array(image.resize((8, 8)))).movedim(-1, 0) / 255

    published = SimpleNamespace(DEFAULT=SimpleNamespace(transforms=lambda: transform))
    made = {"get_model": lambda *_, **__: nn.Conv2d(3, 2, 3), "get_model_weights": {"net": published}.get}
    stand_in = SimpleNamespace(**made, list_models=lambda: ["net"])
    monkeypatch.setitem(sys.modules, "torchvision", stand_in)
    monkeypatch.setitem(sys.modules, "torchvision.models", stand_in)
    photos((16, 24), (20, 16))
    done = invoke("measure", "torchvision:net", "photos", "-t", "quarter_turns", "--out", "r")
    assert done.exit_code == 0, done.output
    assert iv.load("r").provenance["data"]["name"] == "photos"


@pytest.mark.parametrize("given", ["cat,dog,emu", "sorted", "names.txt"])
def test_words_are_compared_with_outputs_in_the_order_given(given, photos, invoke, fails):
    photos((16, 16))
    Path("names.txt").write_text("cat\ndog\nemu\n")
    command = ("measure", "colour.py:make", "photos", "-t", "quarter_turns", "-m", "prediction")
    without = invoke(*command, "--out", "without")
    assert without.exit_code == 0, without.output
    assert "no accuracy: the labels are words ('cat', 'dog', 'emu')" in " ".join(without.stderr.split())
    done = invoke(*command, "--classes", given, "--out", "r")
    assert done.exit_code == 0, done.output
    assert done.stdout.count("accuracy") == 1
    flips = {row.value for name in ("without", "r") for row in iv.load(name).rows if row.output == "flips"}
    assert len(flips) == 1


def test_flips_are_limited_without_the_order_of_the_classes(photos, invoke, fails):
    photos((16, 16))
    command = ("check", "colour.py:make", "photos", "-t", "quarter_turns", "--max")
    assert invoke(*command, "output:prediction.flips:1").exit_code == 0
    message = fails(
        "check", "colour.py:make", "photos", "-t", "quarter_turns", "--min", "output:prediction.accuracy:.5"
    )
    assert "prediction.accuracy in the limit" in message
    assert "was not measured: no accuracy: the labels are words" in message


def test_a_word_that_is_no_class_suggests_sorted(photos, fails):
    photos((16, 16))
    command = ("measure", "colour.py:make", "photos", "-t", "quarter_turns", "-m", "prediction")
    said = fails(*command, "--classes", "alphabetical")
    assert "--classes alphabetical: no label of the data has this name. Write --classes sorted for" in said


def test_sorted_classes_need_words(fails):
    command = ("measure", "net.py:make", "digits.npz", "-t", "quarter_turns", "--classes", "sorted")
    assert "--classes sorted needs data with words as labels" in fails(*command)


@pytest.mark.parametrize("shape", [(3, 12, 12), (12, 12, 3)])
def test_bytes_are_scaled_and_their_channels_moved_with_a_note(shape, photos, invoke):
    photos((16, 16))
    values = np.random.default_rng(0).integers(0, 256, (8, *shape), dtype=np.uint8)
    np.save("bytes.npy", values)
    done = invoke("measure", "colour.py:make", "bytes.npy", "-t", "quarter_turns", "--out", "r")
    assert done.exit_code == 0, done.output
    found = iv.load("r")
    note = next(note for note in found.provenance["notes"] if "divided by 255" in note)
    assert ("channels were moved" in note) == (shape[-1] == 3)
    assert found.provenance["data"]["shape"] == [3, 12, 12]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("digits.npz", "--size", "8"), "applies to images in files; digits.npz holds arrays"),
        (("mnist_subset", "--size", "8"), "--size apply to data in files"),
        (("net.py:ready", "--labels-from", "y"), "--labels-from apply to data in files"),
        (("digits.npz", "--inputs-from", "z"), "contains ['x', 'y']; it has no z"),
        (("digist",), "unknown data 'digist'"),
        (("photos.parquet",), "no such file: photos.parquet"),
    ],
)
def test_options_and_names_that_do_not_apply_are_one_line(arguments, said, fails):
    assert said in fails("measure", "net.py:make", *arguments, "-t", "quarter_turns")
