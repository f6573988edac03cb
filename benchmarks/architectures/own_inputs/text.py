"""Define language models with texts of different lengths, padded in `preprocess` and marked by masks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from benchmarks.architectures import text as tensors
from benchmarks.architectures.own_inputs.catalogue import Element, OwnInputs, lengths, on, padded, unmoved

PADDING = {"RobertaForSequenceClassification": 1, "MPNetModel": 1, "BartModel": 1, "OPTModel": 1}
NO_MASK = ("FNetModel", "RwkvModel")  # they accept no mask
REACHED = ("FNetModel", "RwkvModel", "FunnelModel", "ConvBertModel")  # padding affects tokens
FLAT = ("OPTModel", "MixtralModel", "Qwen2MoeModel", "SwitchTransformersModel")  # tokens share one axis
ONE_LENGTH = (*REACHED, *FLAT)
MULTIPLES = {"LongformerModel": 4}  # the model itself pads to these multiples
LONGEST, LONGEST_ANSWER = 14, 9


def shifted(tokens: Tensor) -> Tensor:
    """Shift tokens cyclically by one."""
    return tokens.roll(1, 0)


def shortened(tokens: Tensor) -> Tensor:
    """Drop the first token."""
    return tokens[1:]


ELEMENTS: tuple[Element, ...] = (unmoved, on("input_ids", shifted), on("input_ids", shortened))


def texts(generator: torch.Generator) -> list[dict[str, Tensor]]:
    """Draw texts of 6 to 14 tokens."""
    return [{"input_ids": _tokens(length, generator)} for length in lengths(6, LONGEST)]


def texts_and_answers(generator: torch.Generator) -> list[dict[str, Tensor]]:
    """Draw texts, each with the beginning of an answer of 4 to 9 tokens."""
    answers = [_tokens(length, generator) for length in lengths(4, LONGEST_ANSWER)]
    found = zip(texts(generator), answers, strict=True)
    return [{**text, "decoder_input_ids": answer} for text, answer in found]


def _tokens(length: int, generator: torch.Generator) -> Tensor:
    return torch.randint(6, 64, (length,), generator=generator)


def tokenized(
    samples: Sequence[dict[str, Tensor]],
    *,
    value: int = 0,
    multiple: int = 1,
    least: int = 0,
    mask: bool = True,
) -> dict[str, Tensor]:
    """Pad texts, and answers if there are any."""
    batch = {}
    for field in samples[0]:
        rows = [sample[field] for sample in samples]
        batch[field], found = padded(rows, value, multiple, least)
        if mask:
            batch[field.replace("input_ids", "attention_mask")] = found
    return batch


def collating(name: str) -> Callable[[Sequence[Any]], dict[str, Tensor]]:
    """Return the `preprocess` of a model."""
    value, multiple = PADDING.get(name, 0), MULTIPLES.get(name, 1)
    least, mask = LONGEST * (name in ONE_LENGTH), name not in NO_MASK
    return lambda samples: tokenized(samples, value=value, multiple=multiple, least=least, mask=mask)


def text() -> list[OwnInputs]:
    """Return all language models."""
    found = []
    for known in [*tensors.encoders(), *tensors.decoders()]:
        kind = "texts, padded to one length" if known.name in ONE_LENGTH else "texts and masks"
        masks = () if known.name in NO_MASK else ("attention_mask",)
        given = (texts, ELEMENTS, collating(known.name), masks)
        # GPT-Neo computes attention in float32 anyway, so results do not repeat to float64 precision.
        precision: Any = "float32" if known.name == "GPTNeoForCausalLM" else "float64"
        options: Any = {"precision": precision, "kind": kind}
        found.append(OwnInputs(known.library, known.name, known.build, *given, **options))
    both = ("attention_mask", "decoder_attention_mask")
    for known in tensors.sequence_to_sequence():
        given = (texts_and_answers, ELEMENTS, collating(known.name), both)
        found.append(OwnInputs(known.library, known.name, known.build, *given, kind="texts, answers, masks"))
    return found
