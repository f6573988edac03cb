"""What comes between the transform and the model on the command line: images of other libraries, own code."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import invariscope as iv
from invariscope.cli.images import BroughtTransform, ResizeCropNormalize, refuse_other_range
from invariscope.cli.models import loaded
from invariscope.cli.options import Origin
from invariscope.readers.fingerprint import identify

MEAN, STD = (0.5, 0.25, 0.0), (0.5, 1.0, 2.0)
USUAL = {"scale": (32, 32), "crop": (28, 28), "mean": MEAN, "std": STD}


def photo(height: int, width: int, seed: int = 0) -> Image.Image:
    """A smooth photograph."""
    pixels = np.random.default_rng(seed).integers(0, 255, (6, 5, 3)).astype(np.uint8)
    return Image.fromarray(pixels).resize((width, height), Image.Resampling.BICUBIC)


def tensor_of(image: Image.Image) -> torch.Tensor:
    return torch.from_numpy(np.array(image)).movedim(-1, 0) / 255


def normalized(images: torch.Tensor) -> torch.Tensor:
    return (images - torch.tensor(MEAN)[:, None, None]) / torch.tensor(STD)[:, None, None]


# Images


@pytest.mark.parametrize("mode", ["bilinear", "bicubic"])
@pytest.mark.parametrize("size", [(90, 120), (120, 90), (64, 64), (20, 28)])
def test_photographs_are_resized_as_by_pil_up_to_its_rounding(size, mode):
    image = photo(*size)
    height, width = size
    short = min(size)
    to = (width * 32 // short, height * 32 // short)
    resized = image.resize(to, getattr(Image.Resampling, mode.upper()))
    left, top = (round((side - 28) / 2) for side in to)
    right = tensor_of(resized.crop((left, top, left + 28, top + 28)))
    found = ResizeCropNormalize(**USUAL, mode=mode)([image, image])
    assert found.shape == (2, 3, 28, 28)
    assert (found[0] - normalized(right)).abs().max() < 2.5 / 255 / min(STD)


def test_squashed_images_give_up_the_ratio_of_their_sides():
    options = {"scale": (8, 8), "crop": (8, 8), "mode": "bilinear"}  # cubic values above 1 are cut by PIL
    found = ResizeCropNormalize(**USUAL | options, squash=True)([photo(40, 80)])
    right = tensor_of(photo(40, 80).resize((8, 8), Image.Resampling.BILINEAR))
    assert (found[0] - normalized(right)).abs().max() < 2.5 / 255 / min(STD)


def test_tensors_of_the_right_size_are_only_normalized():
    preprocess = ResizeCropNormalize(scale=(28, 28), crop=(28, 28), mean=MEAN, std=STD)
    x = torch.rand(4, 3, 28, 28, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    assert torch.equal(preprocess(x), normalized(x))
    assert preprocess.notes == ()


def test_samples_may_be_images_arrays_tensors_or_mappings():
    image = photo(32, 32)
    forms = [image, np.array(image).transpose(2, 0, 1), tensor_of(image), {"image": image, "caption": "a"}]
    found = ResizeCropNormalize(**USUAL)(forms)
    assert all(torch.allclose(one, found[0], atol=1e-6) for one in found)
    with pytest.raises(ValueError, match="none of which is called 'image'"):
        ResizeCropNormalize(**USUAL)([{"picture": image}])


def test_what_is_changed_without_being_asked_for_is_noted_once():
    preprocess = ResizeCropNormalize(**USUAL)
    grey = torch.full((2, 1, 40, 30), 51, dtype=torch.uint8)
    assert torch.equal(preprocess(grey), preprocess(grey))
    assert preprocess.notes == (
        "images of 40 × 30 pixels were resized or cropped to 28 × 28",
        "uint8 images were divided by 255",
        "grey images were repeated across 3 channels",
    )


def test_notes_do_not_change_the_identity_of_a_run():
    preprocess, other = ResizeCropNormalize(**USUAL), ResizeCropNormalize(**USUAL | {"crop": (24, 24)})
    before = identify(preprocess, "preprocess")
    preprocess.note("something")
    assert identify(preprocess, "preprocess") == before
    assert identify(other, "preprocess").digest != before.digest
    assert before.unseen == ()
    assert pickle.loads(pickle.dumps(preprocess)) == preprocess


@pytest.mark.parametrize(
    ("images", "said"),
    [
        (torch.ones(2, 4, 32, 32), r"takes images \(3, row, column\), got \(4, 32, 32\)$"),
        (torch.ones(2, 32, 32, 3), r"got \(32, 32, 3\); move them to the front"),
        (torch.ones(32, 32), r"must be \(channel, row, column\)"),
        (torch.full((2, 3, 32, 32), 255.0), "got float32 from 255 to 255. Divide them by 255"),
        (torch.ones(2, 3, 32, 32, dtype=torch.int64), "got int64 from 1 to 1"),
    ],
)
def test_images_of_another_kind_are_refused(images, said):
    with pytest.raises(ValueError, match=said):
        ResizeCropNormalize(**USUAL)(images)


def test_text_is_no_image():
    with pytest.raises(TypeError, match="takes images, but a sample is str"):
        ResizeCropNormalize(**USUAL)(["a cat"])


def test_noise_may_leave_the_range_that_data_may_not():
    noisy = torch.linspace(-2, 3, 3 * 32 * 32).reshape(1, 3, 32, 32)
    assert ResizeCropNormalize(**USUAL)(noisy).isfinite().all()
    for data in (noisy, noisy.numpy(), (noisy, [0])):
        with pytest.raises(ValueError, match="already normalized, use --preprocess none"):
            refuse_other_range(data)
    refuse_other_range(noisy.clamp(0, 1))


def test_a_transform_of_published_weights_gets_a_batch_or_images_one_by_one():
    seen: list[object] = []

    def transform(images):
        seen.append(type(images).__name__)
        images = tensor_of(images) if isinstance(images, Image.Image) else images
        return images.flip(-1)

    brought, image = BroughtTransform(transform), photo(8, 8)
    assert torch.equal(brought(tensor_of(image)[None]), brought([image]))
    assert torch.equal(brought([np.array(image).transpose(2, 0, 1)]), brought([image]))
    assert seen == ["Tensor", "Image", "Tensor", "Image"]


# The command line


FUNCTIONS = """
import numpy as np
import torch

def halved(x):
    return x / 2

def grey(images):
    return torch.stack([torch.tensor(np.array(i.convert("L").resize((8, 8))))[None] / 255 for i in images])

def failing(x):
    raise KeyError("phase of the moon")
"""


@pytest.fixture
def functions(workplace) -> Path:
    Path("functions.py").write_text(FUNCTIONS)
    return workplace


def test_a_function_of_the_user_comes_after_the_transform_and_is_recorded(functions, invoke):
    options = ("-t", "quarter_turns", "--preprocess", "functions.py:halved", "--out", "halved")
    done = invoke("measure", "net.py:make", "digits.npz", *options)
    assert done.exit_code == 0, done.output
    found = iv.load("halved")
    assert found.provenance["options"]["preprocess"] == "halved"
    data = np.load("digits.npz")
    model = loaded("net.py:make", "digits.npz", Origin())[0].model
    halves = torch.from_numpy(data["x"]).float() / 2
    right = iv.measure(model, (halves, data["y"]), iv.QuarterTurns(), progress=False)
    np.testing.assert_allclose(found.table["value"], right.table["value"], rtol=1e-4)
    assert any(name.startswith("feature:") for name in found.examples), "illustrated with the same function"


def test_a_folder_of_photographs_is_measured_with_its_labels(functions, invoke):
    for place, kind in enumerate(["cat", "dog"] * 3):
        Path("photos", kind).mkdir(parents=True, exist_ok=True)
        photo(20, 30 + place, seed=place).save(Path("photos", kind, f"{place}.png"))
    options = ("-t", "Flip()", "--preprocess", "functions.py:grey", "--by-class", "--out", "photos_run")
    done = invoke("measure", "net.py:make", "photos", *options)
    assert done.exit_code == 0, done.output
    found = iv.load("photos_run")
    assert found.provenance["data"]["name"] == "photos"
    assert {"cat", "dog"} <= set(found.table["stratum"])


@pytest.mark.parametrize(
    ("preprocess", "said"),
    [
        ("nine", "unknown preprocess 'nine'. Closest: 'none'. Or give file.py:function."),
        ("functions.py:failing", "preprocess failed on"),
        ("functions.py:torch", "must name a function or class, got module"),
    ],
)
def test_a_preprocess_that_does_not_work_is_one_line(preprocess, said, functions, fails):
    assert said in fails(
        "measure", "net.py:make", "digits.npz", "-t", "quarter_turns", "--preprocess", preprocess
    )


@pytest.mark.parametrize("command", ["check", "curve"])
def test_other_commands_preprocess_as_well(command, functions, fails):
    options = ["--max", "*:normalized_variance:9", "-t", "quarter_turns"] if command == "check" else []
    said = fails(command, "net.py:make", "digits.npz", *options, "--preprocess", "functions.py:failing")
    assert "phase of the moon" in said
