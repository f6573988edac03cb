"""Draw the panels of a page's figure, and save it at the width of a page."""

from __future__ import annotations

import copy
import io
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING, Any

from invariscope.common.files import replacing
from invariscope.plots.shared.base import Drawing
from invariscope.plots.shared.look import Look
from invariscope.plots.shared.theme import DARK, LIGHT

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# The text column of the documentation is about 690 CSS pixels wide, at 96 pixels per inch.
WIDTH_IN, LEAST_HEIGHT_IN, PANEL_HEIGHT_IN, LINE_IN = 6.8, 3.2, 2.7, 0.22
COLUMNS = 2
CSS_DPI = 96
PNG_DPI = 2 * CSS_DPI
_CHARACTERS = 88  # of small text in a line
_HANDLE = 8
# Colours of a scale from dark to bright, which no rule can turn into one that is legible on dark pages.
_FIXED_SCALE = "#440154"


def draw_panels(parts: Sequence[tuple[str, Drawing]]) -> Figure:
    """Return a figure as wide as the text of a page, with a panel per drawing.

    Panels have a common legend and, if they show the same quantity, a common vertical axis.

    Args:
        parts: (title of the panel, drawing); a single drawing has no title.
    """
    if len(parts) == 1:
        return _fitted(*parts[0])
    from invariscope.plots.shared.canvas import ReadableFigure

    rows = -(-len(parts) // COLUMNS)
    size = (WIDTH_IN, PANEL_HEIGHT_IN * rows)
    figure = ReadableFigure(figsize=size, layout="constrained", facecolor=LIGHT.surface)
    axes = list(figure.subplots(rows, COLUMNS, squeeze=False).flat)
    shown, free = axes[: len(parts)], axes[len(parts) :]
    for ax in free:
        ax.set_axis_off()
    for ax, (title, drawing) in zip(shown, parts, strict=True):
        drawing.draw_as(Look(ax=ax, title=title))
    _share_axis(shown)
    _share_legend(figure, shown, free)
    _fit_texts(figure)
    return figure


def _fitted(title: str, drawing: Drawing) -> Figure:
    """Return one drawing at most as wide as a page, in its own proportions but not flatter than legible."""
    figure = drawing.draw_as(Look(title=title or None))
    width, height = figure.get_size_inches()
    if width > WIDTH_IN:
        size = (WIDTH_IN, max(LEAST_HEIGHT_IN, float(height) * WIDTH_IN / float(width)))
        figure = drawing.draw_as(Look(title=title or None, figsize=size))
    _fit_texts(figure)
    return figure


def _fit_texts(figure: Figure) -> None:
    """Shorten names of layers below the axes, and break axis titles that are longer than their axis."""
    for ax in figure.axes:
        _shorten_ticks(ax)
    figure.draw_without_rendering()
    for ax in figure.axes:
        inside = ax.get_window_extent()
        for label, room in ((ax.xaxis.label, inside.width), (ax.yaxis.label, inside.height)):
            extent = label.get_window_extent()
            length = extent.width if label is ax.xaxis.label else extent.height
            text = label.get_text()
            if text and length > room:
                label.set_text(fill(text, max(8, int(len(text) * room / length)), break_long_words=False))


def _shorten_ticks(ax: Axes) -> None:
    """Remove a prefix that most names share, such as that of the convolutional part of a VGG."""
    texts = [label.get_text() for label in ax.get_xticklabels()]
    prefixes = Counter(text.partition(".")[0] for text in texts if "." in text and not _is_number(text))
    prefix, count = prefixes.most_common(1)[0] if prefixes else ("", 0)
    if count >= 4 and count > len(texts) / 2:
        short = [text.removeprefix(f"{prefix}.") for text in texts]
        ax.set_xticks(ax.get_xticks(), short, rotation=40, ha="right", rotation_mode="anchor")


def _is_number(text: str) -> bool:
    return text.replace("−", "-").replace(".", "", 1).lstrip("-").isdigit()


def _share_axis(axes: Sequence[Axes]) -> None:
    """Give panels of the same quantity and scale the same range, and write axis titles once."""
    kinds = {(ax.get_ylabel(), ax.get_yscale()) for ax in axes}
    if len(kinds) == 1:
        ends = [ax.get_ylim() for ax in axes]
        widest = max(zip(ends, axes, strict=True), key=lambda pair: pair[0][1] / (pair[0][0] or 1e-9))[1]
        for ax in axes:
            ax.set_ylim(min(low for low, _ in ends), max(high for _, high in ends))
            if ax.get_yscale() == "log":
                ax.yaxis.set_major_locator(_copy(widest.yaxis.get_major_locator()))
    for number, ax in enumerate(axes):
        if number % COLUMNS and len(kinds) == 1:
            ax.set_ylabel("")
        if number + COLUMNS < len(axes) and len({other.get_xlabel() for other in axes}) == 1:
            ax.set_xlabel("")


def _copy(locator: Any) -> Any:
    """Return a locator of ticks with the same settings for another axis."""
    copied = copy.copy(locator)
    copied.axis = None
    return copied


def _share_legend(figure: Figure, axes: Sequence[Axes], free: Sequence[Axes]) -> None:
    """Replace the panels' legends by one in a free place or below them, if they mean the same everywhere."""
    entries = [_entries(ax) for ax in axes]
    found = {text: handle for own in entries for text, handle in own if not _is_fit(text)}
    styles = {_style(handle): text for text, handle in found.items()}
    if any(styles.get(_style(h)) != text for own in entries for text, h in own if not _is_fit(text)):
        return
    for ax, own in zip(axes, entries, strict=True):
        _write_fit(ax, [text for text, _ in own if _is_fit(text)])
        if (legend := ax.get_legend()) is not None:
            legend.remove()
    style: dict[str, Any] = {
        "frameon": False,
        "labelcolor": LIGHT.text,
        "fontsize": LIGHT.small_size,
        "handlelength": 1.8,
    }
    if not found:
        return
    if free:
        free[0].legend(list(found.values()), list(found), loc="upper left", **style)
        return
    columns = max(1, min(len(found), _CHARACTERS // (max(map(len, found)) + _HANDLE)))
    width, height = figure.get_size_inches()
    figure.set_size_inches(width, height + LINE_IN * -(-len(found) // columns))
    where = "outside lower left"
    figure.legend(list(found.values()), list(found), loc=where, ncols=columns, **style)


def _is_fit(text: str) -> bool:
    """Return whether an entry of a legend is that of a fitted line, which each panel has of its own."""
    return text.startswith("slope")


def _write_fit(ax: Axes, texts: Sequence[str]) -> None:
    style: dict[str, Any] = {
        "fontsize": LIGHT.small_size,
        "color": LIGHT.muted,
        "ha": "right",
        "va": "bottom",
    }
    ax.text(1, 1.02, "\n".join(texts), transform=ax.transAxes, **style)


def _entries(ax: Axes) -> list[tuple[str, Any]]:
    legend = ax.get_legend()
    if legend is None:
        return []
    texts = [text.get_text() for text in legend.get_texts()]
    return list(zip(texts, legend.legend_handles, strict=True))


def _style(handle: Any) -> tuple[str, ...]:
    names = ("color", "facecolor", "linestyle", "marker")
    return tuple(str(getattr(handle, f"get_{name}")()) for name in names if hasattr(handle, f"get_{name}"))


def save_figure(figure: Figure, path: Path) -> None:
    """Save a figure: SVG that follows the light or dark theme of its page, or a true-colour PNG.

    The same figure gives the same bytes.
    """
    import matplotlib

    kind, buffer = path.suffix[1:], io.BytesIO()
    with matplotlib.rc_context({"svg.hashsalt": "invariscope"}):
        metadata = {"Date": None} if kind == "svg" else {"Software": None}
        figure.savefig(buffer, format=kind, dpi=PNG_DPI, facecolor=LIGHT.surface, metadata=metadata)
    content = buffer.getvalue()
    if kind == "svg" and _FIXED_SCALE.encode() not in content:
        content = with_dark_theme(content.decode()).encode()
    with replacing(path) as part:
        part.write_bytes(content)


def with_dark_theme(svg: str) -> str:
    """Return an SVG whose colours change with the colour scheme of the page that shows it.

    Browsers pass the colour scheme of a page to the images in it, so one file serves both themes.
    """
    pairs = [
        (LIGHT.surface, DARK.surface), (LIGHT.text, DARK.text), (LIGHT.muted, DARK.muted),
        (LIGHT.line, DARK.line), (LIGHT.hatch, DARK.hatch), *zip(LIGHT.series, DARK.series, strict=True),
    ]  # fmt: skip
    rules = [
        f'[style*="{name}: {light}"] {{ {name}: {dark} !important }}'
        for light, dark in dict(pairs).items()
        for name in ("fill", "stroke")
    ]
    block = "<style>@media (prefers-color-scheme: dark) {\n" + "\n".join(rules) + "\n}</style>\n"
    start = svg.index(">", svg.index("<svg")) + 1
    return f"{svg[:start]}\n{block}{svg[start:]}"
