"""The local action of single fields: arrows, and maps of compression, shear and rotation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from invariscope.lab.plots.displacement_fields import arrows, frame
from invariscope.plots.shared import labels as names
from invariscope.plots.shared.base import Plot, View

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from invariscope.plots.shared.canvas import Canvas
    from invariscope.results.result import Result

EXAMPLE = "displacement"
PARTS = ("compression", "shear", "rotation")
_DIVERGING = "RdBu_r"
_ROUNDING = 1e-9  # pixels


@dataclass(frozen=True)
class LocalField:
    """One field, decomposed on adjacent patches.

    Args:
        field: (2, H, W) displacements in pixels, along x first.
        centres: (2, row, column) centres of the patches.
        translation: (2, row, column) mean displacement of each patch in pixels.
        parts: (row, column) maps by name: signed compression and rotation, and the norm of the shear.
        leftover: (row, column) RMS in pixels of the nonlinear displacement within each patch.
    """

    field: np.ndarray
    centres: np.ndarray
    translation: np.ndarray
    parts: dict[str, np.ndarray]
    leftover: np.ndarray


@dataclass(frozen=True)
class LocalFields(Plot):
    """Plot with a row per field: arrows, the translation of patches, and maps of the field's other parts.

    Args:
        name: name of the ensemble.
        patch: side of the patches in pixels.
        fields: one per row.
    """

    title = "Local action of smooth fields"
    reading = (
        "Each row is a field: its arrows, the mean translation of each patch, and maps of how each patch is "
        "compressed (red: content spreads), sheared and rotated (red: clockwise), in units of the "
        "displacement's gradient. The last map shows how far the field is from linear on each patch."
    )
    order = 93
    single = True

    name: str
    patch: int
    fields: tuple[LocalField, ...]

    @classmethod
    def prepare(cls, result: Result, *, patch: int = 4) -> LocalFields:
        """Decompose the example fields of a result.

        Args:
            result: a result of a "decompose" cell of a recipe; several are drawn beside each other.
            patch: side of the patches in pixels.
        Raises:
            ValueError: the result has no fields, or patches do not fit into them.
        """
        if EXAMPLE not in result.examples:
            raise ValueError('the result has no fields: use the result of a "decompose" cell')
        fields = tuple(_decomposed(field, patch) for field in result.examples[EXAMPLE])
        return cls(result.name, patch, fields)

    @classmethod
    def views(cls, results: Sequence[Result]) -> list[View]:
        """Return one view per result that has fields."""
        named = zip(names.model_names(results), results, strict=True)
        return [View(name, cls.prepare(result)) for name, result in named if EXAMPLE in result.examples]

    @property
    def spans(self) -> dict[str, float]:
        """Upper end of the colour scale of each part, the same for all fields."""
        parts = {part: max(float(np.abs(f.parts[part]).max()) for f in self.fields) for part in PARTS}
        return {part: end or 1.0 for part, end in parts.items()}

    @property
    def most_left(self) -> float:
        """Upper end of the colour scale of the nonlinear displacement, in pixels."""
        most = max(float(field.leftover.max()) for field in self.fields)
        return most if most > _ROUNDING else 1.0

    def paint(self, canvas: Canvas) -> None:
        """Draw one row of six images per field."""
        rows = len(self.fields)
        if canvas.narrow:  # a column per field
            axes = canvas.panels(max(2.4 * rows, 5.0), 12.0, rows=6, columns=rows).T
        else:
            axes = canvas.panels(13.2, 0.4 + 1.85 * rows, rows=rows, columns=6)
        for line, field in zip(axes, self.fields, strict=True):
            _draw_field(line[0], field, canvas)
            _draw_translation(line[1], field, canvas)
            self._draw_parts(line[2:], field, canvas)
        titles = ("displacement", "translation", *PARTS, "not linear (px)")
        for ax, text in zip(axes[0], titles, strict=True):
            canvas.heading(ax, text)

    def _draw_parts(self, axes: Sequence[Axes], field: LocalField, canvas: Canvas) -> None:
        for ax, (part, end) in zip(axes, self.spans.items(), strict=False):
            signed = part != "shear"
            span, scale = ((-end, end), _DIVERGING) if signed else ((0.0, end), "viridis")
            _draw_map(ax, field.parts[part], span, scale, canvas)
        _draw_map(axes[-1], field.leftover, (0.0, self.most_left), "viridis", canvas)


def _decomposed(field: np.ndarray, patch: int) -> LocalField:
    from invariscope.studies.local_decomposition import local_decomposition

    found = local_decomposition(field, patch)
    parts = {"compression": found.compression, "shear": np.linalg.norm(found.shear, axis=0)}
    parts["rotation"] = found.rotation
    return LocalField(np.asarray(field), found.centres_px, found.translation, parts, found.leftover_px)


def _draw_field(ax: Axes, field: LocalField, canvas: Canvas) -> None:
    step = -(-max(field.field.shape[1:]) // 16)
    rows, columns = np.indices(field.field.shape[1:])[:, ::step, ::step]
    arrows(ax, columns, rows, field.field[:, ::step, ::step], canvas.colour(0), 0.009)
    frame(ax, field.field.shape[1:], canvas)


def _draw_translation(ax: Axes, field: LocalField, canvas: Canvas) -> None:
    arrows(ax, field.centres[0], field.centres[1], field.translation, canvas.colour(1), 0.009)
    frame(ax, field.field.shape[1:], canvas)


def _draw_map(ax: Axes, values: np.ndarray, span: tuple[float, float], scale: str, canvas: Canvas) -> None:
    image = ax.imshow(values, cmap=scale, vmin=span[0], vmax=span[1], interpolation="none")
    ax.set(xticks=[], yticks=[])
    bar = ax.figure.colorbar(image, cax=ax.inset_axes((1.04, 0.0, 0.05, 1.0)))
    bar.outline.set_visible(False)  # type: ignore[operator]
    bar.ax.tick_params(colors=canvas.colours.muted, labelsize=canvas.colours.small_size - 1, length=0)
