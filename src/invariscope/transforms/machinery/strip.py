"""The card of a transform: a small picture under each element, or a table of the elements."""

from __future__ import annotations

import base64
import io
import warnings
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from invariscope.common.cards import MOST_ROWS, MUTED, Card, Table, escaped
from invariscope.common.registry import snake_case
from invariscope.common.wording import shorten

if TYPE_CHECKING:
    from invariscope.transforms.base import Transform

SIDE = 56  # pixels; eight incompressible pictures then take 35 kB
_FRAMES, _MOST_ELEMENTS, _DEEP = 8, 1024, 4
_STRIP = '<div style="display:flex;flex-wrap:wrap;gap:8px;margin-top:10px">{}</div>'
_FRAME = (
    '<div style="width:64px"><img alt="{0}" title="{0}" src="data:image/png;base64,{1}" '
    'style="display:block;width:64px;max-width:none;height:auto;margin:0;border-radius:3px">'
    f'<div style="{MUTED};text-align:center">{{2}}</div></div>'
)


def card_html(transform: Transform) -> str:
    """Return the card of a transform. It never fails, because a transform may be displayed to debug it."""
    try:
        return _card(transform).html()
    except Exception:  # code of users may raise anything
        return Card(type(transform).__name__, remarks=[_written(transform)]).html()


def _card(transform: Transform) -> Card:
    strip, count = _strip(transform), len(transform)
    title = snake_case(type(transform).__name__).replace("_", " ")
    facts = [f"{count:,} element{'' if count == 1 else 's'}"]
    facts += ["different for every sample"] if transform.per_sample else []
    facts += [] if transform.invertible else ["no inverse"]
    facts += [f"{_FRAMES} of them shown"] if strip and count > _FRAMES else []
    table = None if strip else _elements(transform)
    return Card(title[:1].upper() + title[1:], facts, strip, table, [_written(transform)])


def _written(transform: Transform) -> str:
    try:
        return f"`{shorten(repr(transform).replace('`', chr(39)), 300)}`"
    except Exception:  # as above
        return "Its fields cannot be shown."


def _elements(transform: Transform) -> Table:
    named = [(name, values) for name, values in transform.parameters.items() if name != "element"]
    parameters = dict(named[:4])
    rows = [
        [label, *(f"{values[k]:.4g}".replace("-", "−") for values in parameters.values())]
        for k, label in enumerate(transform.labels[:MOST_ROWS])
    ]
    more = f"The first {len(rows)} of " if len(rows) < len(transform) else ""
    columns = [("element", "name"), *((name, "number") for name in parameters)]
    return Table(f"{more}{len(transform):,} elements", columns, rows)


def _strip(transform: Transform) -> str:
    """Return pictures as HTML; "" if the transform does not act on images, or leaves this one as it is."""
    if len(transform) > _MOST_ELEMENTS or _calls_users(transform):
        return ""
    found = next(filter(None, (_frames(transform, image) for image in (picture(), coloured()))), None)
    if found is None:
        return ""
    shown = [(transform.labels[k], _png(found[k])) for k in _choice(len(transform))]
    parts = (_FRAME.format(escaped(label, 60), png, escaped(label, 18)) for label, png in shown)
    return _STRIP.format("".join(parts))


def _frames(transform: Transform, image: torch.Tensor) -> list[torch.Tensor]:
    """Return what each element makes of a picture; [] unless these are pictures and not all the same."""
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            frames = transform.orbit(image)[0]
    except Exception:  # not a transform of images, or one that needs other images
        return []
    pictures = frames.ndim == 4 and frames.shape[1] == image.shape[1]
    return list(frames) if pictures and not _unmoved(frames, image) else []


def _unmoved(frames: torch.Tensor, image: torch.Tensor) -> bool:
    same = frames.shape[-2:] == image.shape[-2:]
    return len(frames) > 1 and same and bool((frames == image[0]).all())


def _calls_users(value: Any, depth: int = 0) -> bool:
    """Return whether a transform holds functions, which are not called only to display it."""
    from invariscope.transforms.base import Transform

    if isinstance(value, tuple | list):
        return any(_calls_users(entry, depth + 1) for entry in value[:_MOST_ELEMENTS])
    if isinstance(value, Transform):
        return depth > _DEEP or any(_calls_users(entry, depth + 1) for entry in vars(value).values())
    return callable(value)


def _choice(count: int) -> list[int]:
    """Return at most eight elements, evenly spaced: of a circle without, of a range with the last one."""
    if count <= _FRAMES or count % _FRAMES == 0:
        return list(range(0, count, max(count // _FRAMES, 1)))
    return np.linspace(0, count - 1, _FRAMES).round().astype(int).tolist()


@cache
def picture() -> torch.Tensor:
    """Return the test picture, (1, 1, 56, 56): the letter F and a disc on a grid, which has no symmetry."""
    fine = 4
    y, x = (np.mgrid[: SIDE * fine, : SIDE * fine] + 0.5) / fine
    values = np.where((x % 8 < 1) | (y % 8 < 1), 0.34, 0.14)
    letter = (x > 15) & (x < 22) & (y > 9) & (y < 47)
    letter |= (x > 15) & (x < 42) & (y > 9) & (y < 16)
    letter |= (x > 15) & (x < 35) & (y > 24) & (y < 31)
    values = np.where(np.hypot(x - 38, y - 40) < 6.5, 0.68, values)
    values = np.where(letter, 0.97, values)
    small = values.reshape(SIDE, fine, SIDE, fine).mean((1, 3))
    return torch.tensor(small, dtype=torch.float32)[None, None]


@cache
def coloured() -> torch.Tensor:
    """Return the test picture in colours, (1, 3, 56, 56), for transforms of RGB images."""
    grey = picture()[0, 0]
    tints = {
        0.14: (0.10, 0.14, 0.22),
        0.34: (0.25, 0.36, 0.45),
        0.68: (0.20, 0.75, 0.85),
        0.97: (0.98, 0.62, 0.2),
    }
    levels = np.array(sorted(tints))
    planes = [np.interp(grey.numpy(), levels, [tints[level][k] for level in levels]) for k in range(3)]
    return torch.tensor(np.stack(planes), dtype=torch.float32)[None]


def _png(values: torch.Tensor) -> str:
    from PIL import Image

    found = (values.nan_to_num().clamp(0, 1) * 255).round().to(torch.uint8)
    pixels = found[0].numpy() if len(found) == 1 else found.movedim(0, -1).contiguous().numpy()
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", optimize=True)
    return base64.b64encode(buffer.getvalue()).decode()
