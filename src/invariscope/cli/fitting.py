"""Adapt models and data on the command line to each other: sizes of images, values, tokens, class names."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from invariscope.common.reading import read_text

if TYPE_CHECKING:
    from invariscope.cli.named import Named
    from invariscope.data.files.held import FileData
    from invariscope.data.image_set import ImageSet
    from invariscope.transforms.base import Transform

SORTED = "sorted"
_SIDE = 48  # of images on which a transform is tried


def fitted(named: Named, inputs: Any, transform: Transform | None) -> tuple[Named, Any]:
    """Return the model and the data, adapted to each other and to the transform.

    Raises:
        ValueError: image values outside the range that the model's preprocessing expects, or images that are
            not square although the transform needs it.
    """
    from invariscope.data.files.held import FileData
    from invariscope.data.image_set import ImageSet

    if isinstance(inputs, FileData) and inputs.channels_last:
        inputs = _channels_first(named, inputs)
    if isinstance(inputs, ImageSet) and transform is not None:
        inputs = _squared(named, inputs, transform)
    if getattr(named.preprocess, "images", False):
        from invariscope.cli.images import refuse_other_range

        refuse_other_range(inputs)
    if getattr(named.preprocess, "tokens", False):
        from invariscope.cli.hugging_face import with_pooled_tokens

        named = with_pooled_tokens(named, inputs)
    return named, inputs


def _channels_first(named: Named, inputs: FileData) -> FileData:
    """Return images of bytes with their channels in front, unless the model takes them last."""
    from invariscope.readers import as_reader

    if as_reader(named.model).channels_last:
        return inputs
    note = f"{inputs.note}; their channels were moved from the last axis to the first"
    return replace(inputs, images=inputs.images.movedim(-1, 1).contiguous(), note=note, channels_last=False)


def _squared(named: Named, inputs: ImageSet, transform: Transform) -> ImageSet:
    """Return central squares of images if the transform needs them and the model takes images of any size."""
    from invariscope.data.decoding import SQUARE

    if all(rows == columns for rows, columns in inputs.sizes) or not _needs_squares(transform):
        return inputs
    family = type(transform).__name__
    if named.preprocess is None:
        inputs.as_tensors()
    if named.preprocess is None or inputs.size is not None:
        rows, columns = next((r, c) for r, c in inputs.sizes if r != c)
        raise ValueError(
            f"{family} needs square images, and {inputs.name} holds {rows} × {columns}: give the size that "
            "the model takes (--size 224), or --size square to crop the central squares"
        )
    remark = f"images were cropped to their central squares, which {family} needs"
    return replace(inputs.of_size(SQUARE), remark="; ".join(filter(None, (inputs.remark, remark))))


def _needs_squares(transform: Transform) -> bool:
    import torch

    try:
        transform.orbit(torch.zeros(1, 3, _SIDE, _SIDE))
    except Exception:  # functions of the user can fail in any way; the measurement says how
        return False
    try:
        transform.orbit(torch.zeros(1, 3, _SIDE, 2 * _SIDE))
    except (ValueError, TypeError):
        return True
    except Exception:  # as above
        return False
    return False


def class_order(given: Sequence[str] | None, named: Named, inputs: Any) -> Sequence[str] | None:
    """Return the class names in the order of the model's outputs; None if they are unknown.

    Args:
        given: the names of `--classes`; ("sorted",) for the sorted labels, or the name of a text file with
            one class per line.
        named: a model that may know the names of its outputs.
        inputs: data that may have words as labels.
    Raises:
        ValueError: `given` is ("sorted",), but the labels are not words; or a single name that no label has,
            such as "alphabetical".
    """
    words = words_of(inputs)
    if given is None:
        return named.classes if words and words <= set(named.classes) else None
    if list(given) == [SORTED]:
        if not words:
            raise ValueError("--classes sorted needs data with words as labels, such as subfolders of images")
        return tuple(sorted(words))
    if len(given) == 1 and given[0].endswith(".txt"):
        return tuple(line.strip() for line in read_text(Path(given[0])).splitlines() if line.strip())
    if len(given) == 1 and words and given[0] not in words:
        raise ValueError(
            f"--classes {given[0]}: no label of the data has this name. Write --classes {SORTED} for the "
            "alphabetical order of the labels, or name the classes in the order of the model's outputs, "
            "such as --classes cat,dog"
        )
    return given


def words_of(inputs: Any) -> set[str]:
    """Return the distinct labels of data that were read from a file, if they are words."""
    found: Iterable[Any] | None = getattr(inputs, "labels", None)
    if found is None and isinstance(inputs, tuple) and len(inputs) == 2:
        found = inputs[1]
    if not isinstance(found, Iterable) or hasattr(found, "is_floating_point"):
        return set()
    return {str(label) for label in found if isinstance(label, str)}
