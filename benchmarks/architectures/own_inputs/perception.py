"""Define models whose samples are mappings: of images, clips, recordings, series, and images with text."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.architectures import images as timm_images
from benchmarks.architectures import perception as tensors
from benchmarks.architectures.catalogue import Architecture, mirror, quarter_turn
from benchmarks.architectures.own_inputs.catalogue import (
    Element,
    OwnInputs,
    Sample,
    keywords,
    lengths,
    on,
    padded,
    stacked,
    unmoved,
)
from benchmarks.architectures.own_inputs.text import tokenized

RECORDINGS = ("Wav2Vec2Model", "HubertModel", "WavLMModel")
FIELDS = {"ASTModel": "input_values", "PatchTSTModel": "past_values", "PatchTSMixerModel": "past_values"}


def one_field(known: Architecture, field: str, kind: str) -> OwnInputs:
    """Return a model whose samples are mappings with one field."""

    def samples(generator: torch.Generator) -> list[Sample]:
        return [{field: x} for x in known.inputs(generator)]

    elements = (unmoved, *(on(field, _single(move)) for move in known.elements[1:]))
    return OwnInputs(known.library, known.name, known.build, samples, elements, stacked, kind=kind)


def _single(move: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    return lambda x: move(x[None])[0]


def with_pixel_mask(known: Architecture) -> OwnInputs:
    """Return a detector. Its images have different widths, are padded to one size, and have pixel masks."""

    def samples(generator: torch.Generator) -> list[Sample]:
        images = known.inputs(generator)
        return [{"pixel_values": x[..., :width]} for x, width in zip(images, lengths(40, 64), strict=True)]

    def collate(samples: Sequence[Sample]) -> dict[str, Tensor]:
        images = [sample["pixel_values"] for sample in samples]
        room = [(0, 64 - x.shape[-1], 0, 64 - x.shape[-2]) for x in images]
        pad = nn.functional.pad
        mask = [pad(torch.ones(x.shape[-2:]), sides).long() for x, sides in zip(images, room, strict=True)]
        pixels = [pad(x, sides) for x, sides in zip(images, room, strict=True)]
        return {"pixel_values": torch.stack(pixels), "pixel_mask": torch.stack(mask)}

    elements = (unmoved, on("pixel_values", quarter_turn_of_one), on("pixel_values", mirror))
    kind = "images of several sizes and masks"
    return OwnInputs(known.library, known.name, known.build, samples, elements, collate, kind=kind)


def quarter_turn_of_one(image: Tensor) -> Tensor:
    """Rotate an image by 90°."""
    return quarter_turn(image[None])[0]


def recordings(known: Architecture) -> OwnInputs:
    """Return a model of waveforms of different lengths; each convolution has its own mask for pooling."""

    def build() -> nn.Module:
        import transformers

        settings = {**tensors.WAV, "feat_extract_norm": "layer", "do_stable_layer_norm": True}
        config = getattr(transformers, known.name.replace("Model", "Config"))(**settings)
        return getattr(transformers, known.name)(config)

    def samples(generator: torch.Generator) -> list[Sample]:
        return [{"input_values": torch.randn(n, generator=generator)} for n in lengths(400, 800)]

    def collate(samples: Sequence[Sample]) -> dict[str, Tensor]:
        waves, mask = padded([sample["input_values"] for sample in samples], 0)
        batch, counts, total = {"input_values": waves, "attention_mask": mask}, mask.sum(1), mask.shape[1]
        for number, (kernel, stride) in enumerate(zip(tensors.WAV["conv_kernel"], (4, 4), strict=True)):
            counts, total = (counts - kernel) // stride + 1, (total - kernel) // stride + 1
            batch[f"pooled_{number}"] = (torch.arange(total) < counts[:, None]).long()
        batch["pooled_2"] = (torch.arange(total + 1) < counts[:, None] + 1).long()  # for even kernels
        return batch

    elements: tuple[Element, ...] = (
        unmoved,
        on("input_values", mirror),
        on("input_values", lambda wave: wave[37:]),
    )
    masks = ("pooled_0", "pooled_1", "pooled_2")
    kind = "recordings and masks"
    return OwnInputs(known.library, known.name, build, samples, elements, collate, masks, kind=kind)


def whisper(known: Architecture) -> OwnInputs:
    """Return Whisper. Its samples are spectrograms with beginnings of transcripts of different lengths."""

    def samples(generator: torch.Generator) -> list[Sample]:
        texts = [torch.randint(5, 64, (n,), generator=generator) for n in lengths(4, 9)]
        pairs = zip(known.inputs(generator), texts, strict=True)
        return [{"input_features": x, "decoder_input_ids": text} for x, text in pairs]

    def collate(samples: Sequence[Sample]) -> dict[str, Tensor]:
        sounds = stacked([{"input_features": sample["input_features"]} for sample in samples])
        return {**sounds, **tokenized([{"decoder_input_ids": s["decoder_input_ids"]} for s in samples])}

    elements = (unmoved, on("input_features", mirror), on("decoder_input_ids", lambda text: text[:-1]))
    masks = ("decoder_attention_mask",)
    kind = "spectrograms, texts, masks"
    return OwnInputs(known.library, known.name, known.build, samples, elements, collate, masks, kind=kind)


def image_and_text(known: Architecture) -> OwnInputs:
    """Return a model of an image with a text; texts end with the token 2."""

    def samples(generator: torch.Generator) -> list[Sample]:
        ends = torch.tensor([2])
        texts = [torch.cat([torch.randint(5, 64, (n,), generator=generator), ends]) for n in lengths(4, 10)]
        pairs = zip(known.inputs(generator), texts, strict=True)
        return [{"pixel_values": x, "input_ids": text} for x, text in pairs]

    def collate(samples: Sequence[Sample]) -> dict[str, Tensor]:
        images = stacked([{"pixel_values": sample["pixel_values"]} for sample in samples])
        pad = 1 if known.name == "CLIPModel" or known.name.startswith("Blip") else 0
        least = 11 if known.name == "SiglipModel" else 0  # the model reads the last token
        texts = [{"input_ids": sample["input_ids"]} for sample in samples]
        return {**images, **tokenized(texts, value=pad, least=least)}

    elements = (unmoved, on("pixel_values", quarter_turn_of_one), on("input_ids", lambda text: text[1:]))
    masks = ("attention_mask",)
    kind = "images, texts, masks"
    call: Any = _with_pixel_mask if known.name == "ViltModel" else keywords
    given = (samples, elements, collate, masks)
    return OwnInputs(known.library, known.name, known.build, *given, call=call, kind=kind)


def _with_pixel_mask(model: nn.Module, batch: Any) -> Any:
    pixels = batch["pixel_values"]
    return model(**batch, pixel_mask=torch.ones(len(pixels), *pixels.shape[-2:], dtype=torch.long))


def perception() -> Iterator[OwnInputs]:
    """Yield all models of images, sound, video, series, and images with text."""
    for known in tensors.vision():
        yield (
            with_pixel_mask(known)
            if known.name == "DetrModel"
            else one_field(known, "pixel_values", "images")
        )
    for known in tensors.video_and_sound():
        if known.name in RECORDINGS:
            yield recordings(known)
        elif known.name == "WhisperModel":
            yield whisper(known)
        else:
            field = FIELDS.get(known.name, "pixel_values")
            kind = {"pixel_values": "clips", "input_values": "spectrograms"}.get(field, "series")
            yield one_field(known, field, kind)
    yield from map(image_and_text, tensors.images_with_text())
    for known in timm_images.images():
        yield one_field(known, "x", "images")
