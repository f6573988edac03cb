"""Hugging Face transformers checkpoints, with their processor or tokenizer."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from torch import Tensor

from invariscope.cli.images import field_of, images_of, note_size, unit_images
from invariscope.cli.named import Named, Preprocess, optional_package
from invariscope.common.samples import is_image, kind_of
from invariscope.common.wording import listed

if TYPE_CHECKING:
    from types import ModuleType

    from invariscope.cli.named import Request

_TEXTS, _SOUNDS = ("text", "sentence"), ("audio", "array", "input_values")
_UNLIMITED = 1 << 30  # tokenizers without a limit report a larger number
_NO_CODE = {"trust_remote_code": False}


def load_hugging_face(name: str, request: Request) -> Named:
    """Load a checkpoint as the class it was saved from, with its preprocessing.

    Args:
        name: name of a repository, or a folder with config.json.
        request: requirements for loading.
    Raises:
        ValueError: transformers lacks the class, or weights are missing or have the wrong shape.
        OSError: the checkpoint does not exist, or has no weights in safetensors.
        ImportError: transformers is missing.
    """
    library = optional_package("transformers", "transformers")
    with _quiet(library):
        return _loaded(library, name, request)


def _loaded(library: ModuleType, name: str, request: Request) -> Named:
    config = library.AutoConfig.from_pretrained(name, **_NO_CODE)
    kind, notes = _class_of(library, config, name)
    if request.bare:
        model = kind.from_config(config) if kind is library.AutoModel else kind(config)
    else:
        model, unused = _weighted(kind, name)
        notes += unused
    preprocess, missing = _preprocess(library, model, name) if request.preprocess else (None, [])
    label = Path(name).absolute().name if Path(name).is_dir() else name
    about: dict[str, Any] = {"notes": (*notes, *missing), "classes": _class_names(config)}
    return Named(model, label, request.bare, preprocess=preprocess, **about)


def _class_names(config: Any) -> tuple[str, ...]:
    """Return the names of the outputs in their order; () if there are none or two are equal."""
    names = getattr(config, "id2label", None) or {}
    numbered = [str(names[place]) for place in sorted(names)] if set(names) == set(range(len(names))) else []
    return tuple(numbered) if len(set(numbered)) == len(numbered) else ()


@contextmanager
def _quiet(library: ModuleType) -> Iterator[None]:
    """Silence the loading report and progress bars of transformers; our errors and notes replace them."""
    logging = library.utils.logging
    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()


def _class_of(library: ModuleType, config: Any, name: str) -> tuple[Any, list[str]]:
    """Return the model class named in the checkpoint, and notes."""
    if not config.architectures:
        return library.AutoModel, ["the checkpoint names no model class, so it was loaded without a head"]
    own = config.architectures[0]
    kind = getattr(library, own, None)
    if kind is None:
        raise ValueError(
            f"{name} needs the class {own}, which transformers {library.__version__} does not have. Code in "
            "a checkpoint is never run: load the model in your own function, and give file.py:function"
        )
    return kind, []


def _weighted(kind: Any, name: str) -> tuple[Any, list[str]]:
    """Return the model with the checkpoint's weights, and notes on unused weights."""
    # Accept mismatched shapes here, so that the error below can name them.
    options = {"use_safetensors": True, "output_loading_info": True, "ignore_mismatched_sizes": True}
    model, found = kind.from_pretrained(name, **options)
    missing = [str(key) for key in sorted(found["missing_keys"])]
    other = [f"{key} {tuple(a)} instead of {tuple(b)}" for key, a, b in sorted(found["mismatched_keys"])]
    if missing or other:
        reasons = [f"lacks {listed(missing, limit=4)}"] if missing else []
        reasons += [f"has {listed(other, limit=4)}"] if other else []
        raise ValueError(
            f"the checkpoint {name} {' and '.join(reasons)}, so {type(model).__name__} would use random "
            "weights there. If that is intended, load the model in your own function, and give "
            "file.py:function"
        )
    unused = [str(key) for key in sorted(found["unexpected_keys"])]
    count = f"{len(unused)} weights" if len(unused) > 1 else "a weight"
    text = f"{type(model).__name__} does not use {count} of the checkpoint: {listed(unused, limit=4)}"
    return model, [text] if unused else []


def _preprocess(library: ModuleType, model: Any, name: str) -> tuple[Preprocess | None, list[str]]:
    """Return the model's preprocessing, and a note if the checkpoint has none."""
    if hasattr(model.config, "vision_config") and hasattr(model.config, "text_config"):
        return None, [
            "models of images and text have no automatic preprocessing: give --preprocess file.py:function"
        ]
    makers: dict[str, Callable[..., Preprocess]] = {"pixel_values": _images, "input_ids": _texts}
    make = makers.get(model.main_input_name, _sounds)
    try:
        return make(library, model, name), []
    except (OSError, ValueError) as error:
        reason = str(error).partition("\n")[0]
        return None, [f"the checkpoint has no preprocessing, so the model gets the data unchanged ({reason})"]


def _images(library: ModuleType, model: Any, name: str) -> Preprocess:
    processor = library.AutoImageProcessor.from_pretrained(name, **_NO_CODE)
    return ImageProcessing(processor, getattr(model.config, "num_channels", 3))


def _sounds(library: ModuleType, model: Any, name: str) -> Preprocess:
    return SoundProcessing(library.AutoFeatureExtractor.from_pretrained(name, **_NO_CODE))


def _texts(library: ModuleType, model: Any, name: str) -> Preprocess:
    tokenizer = library.AutoTokenizer.from_pretrained(name, **_NO_CODE)
    if len(tokenizer) <= len(set(tokenizer.all_special_ids)):  # as for a folder without tokenizer files
        raise ValueError("no vocabulary")
    limit = tokenizer.model_max_length
    if limit > _UNLIMITED:
        limit = getattr(model.config, "max_position_embeddings", None)
    found = Tokenizing(tokenizer, limit)
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
        model.config.pad_token_id = tokenizer.pad_token_id
        found.note("the tokenizer has no padding token, so texts were padded with its end-of-text token")
    found(["a"])  # the first call changes the tokenizer's state, and thereby the identity of a run
    return found


def with_pooled_tokens(named: Named, data: Any) -> Named:
    """Return the model with pooling for layers that have one row per token, because texts differ in length.

    Args:
        named: a model with a tokenizer.
        data: the texts. If they are an iterator, which can be read only once, no pooling is added.
    """
    from invariscope.data.sources import as_source
    from invariscope.readers import as_reader
    from invariscope.readers.irregular import Irregular
    from invariscope.readers.pooling import Pool

    if hasattr(data, "__next__"):
        return named
    texts = next(iter(as_source(data, structured=True).windows())).inputs
    extremes = texts[np.argsort([len(str(text)) for text in texts])[[0, -1]]]
    if "attention_mask" not in named.preprocess(list(extremes)):
        return named
    layers = as_reader(named.model, preprocess=named.preprocess).inspect(extremes).layers
    padded = [layer.layer for layer in layers if isinstance(layer.status, Irregular)]
    note = "layers with one row per token were averaged over the tokens of each text"
    pool = {name: Pool("mean", mask="attention_mask") for name in padded}
    return replace(named, pool=pool, notes=(*named.notes, note)) if padded else named


@dataclass(frozen=True)
class Tokenizing(Preprocess):
    """Tokenization of texts, padded to the longest text of a batch and truncated to the model's limit."""

    tokens: ClassVar[bool] = True

    tokenizer: Any
    limit: int | None = None

    def __call__(self, samples: Any) -> dict[str, Tensor]:
        """Return the tokenizer's fields, each (sample, token)."""
        texts = [field_of(sample, _TEXTS) for sample in samples]
        _refuse_other_kind(texts, lambda text: isinstance(text, str), "text")
        options = {"truncation": self.limit is not None, "max_length": self.limit}
        found = self.tokenizer(texts, return_tensors="pt", padding=True, **options)
        if any(encoding.overflowing for encoding in found.encodings or ()):
            self.note(f"texts longer than {self.limit} tokens were truncated")
        return dict(found)


@dataclass(frozen=True)
class ImageProcessing(Preprocess):
    """Processing of PIL images, or tensors with values from 0 to 1, by the checkpoint's image processor."""

    images: ClassVar[bool] = True

    processor: Any
    channels: int = 3

    def __call__(self, samples: Any) -> dict[str, Tensor]:
        """Return the processor's fields, usually `pixel_values` (sample, channel, row, column)."""
        images: list[Any] = list(samples) if isinstance(samples, Tensor) else images_of(samples)
        if all(map(is_image, images)):
            mode = "L" if self.channels == 1 else "RGB"
            return dict(self.processor([image.convert(mode) for image in images], return_tensors="pt"))
        values = [unit_images(self, image, self.channels) for image in images]
        options: dict[str, Any] = {"do_rescale": False}
        if all(self._fits(image) for image in values):
            options["do_resize"] = False
        elif getattr(self.processor, "backend", "") == "pil":
            self.note("the image processor rounded images to bytes, and clipped values below 0 and above 1")
            values = [image.clamp(0, 1) for image in values]
        found = dict(self.processor(values, return_tensors="pt", **options))
        if isinstance(samples, Tensor) and "pixel_values" in found:
            note_size(self, samples, tuple(found["pixel_values"].shape[-2:]))
        return found

    def _fits(self, image: Tensor) -> bool:
        """Return whether an image already has the size to which the processor would resize it."""
        rows, columns = image.shape[-2:]
        size = dict(getattr(self.processor, "size", None) or {})
        return size == {"height": rows, "width": columns} or size == {"shortest_edge": min(rows, columns)}


@dataclass(frozen=True)
class SoundProcessing(Preprocess):
    """Processing of waveforms (time,) by the checkpoint's feature extractor."""

    extractor: Any

    def __call__(self, samples: Any) -> dict[str, Tensor]:
        """Return the extractor's fields, padded to the longest sound of a batch."""
        sounds = [field_of(sample, _SOUNDS) for sample in samples]
        _refuse_other_kind(sounds, lambda sound: isinstance(sound, Tensor | np.ndarray), "sound")
        arrays = [np.asarray(sound, np.float32).reshape(-1) for sound in sounds]
        rate = self.extractor.sampling_rate
        return dict(self.extractor(arrays, sampling_rate=rate, return_tensors="pt", padding=True))


def _refuse_other_kind(samples: Iterable[Any], fits: Callable[[Any], bool], what: str) -> None:
    wrong = next((sample for sample in samples if not fits(sample)), None)
    if wrong is not None:
        raise TypeError(f"the model takes {what}, but a sample is {kind_of(wrong)}")
