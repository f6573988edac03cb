"""Plot of smooth displacement fields, as arrows and as deformed grids."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from invariscope.plots.shared.base import Drawing

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from invariscope.plots.shared.canvas import Canvas


class HasFields(Protocol):
    """A transform with displacement fields, such as `Diffeomorphism`."""

    @property
    def labels(self) -> tuple[str, ...]:
        """The names of the elements."""
        ...

    def field(self, indices: Any, *, size: tuple[int, int], seed: int = 0) -> Any:
        """Return displacements in pixels, (sample, element, 2, H, W)."""
        ...


@dataclass(frozen=True)
class DisplacementFields(Drawing):
    """The fields of one sample, one per column: arrows above, the warped grid below.

    The figure is made from a transform, not from a result, so it is not part of reports.

    Args:
        fields: displacements in pixels, (element, (x, y), H, W).
        labels: one per element.
        image: (H, W) in [0, 1], drawn under the arrows; None: no image.
    """

    fields: np.ndarray
    labels: tuple[str, ...]
    image: np.ndarray | None = None

    @classmethod
    def prepare(
        cls,
        transform: HasFields,
        *,
        size: tuple[int, int],
        index: int = 0,
        seed: int = 0,
        image: Any = None,
    ) -> DisplacementFields:
        """Return the fields that `transform.orbit` applies to one sample.

        Args:
            transform: a `Diffeomorphism` or another family with fields.
            size: (H, W) of the images.
            index: global index of the sample.
            seed: as given to `orbit`.
            image: (H, W) or (C, H, W), rescaled to [0, 1]; None: no image.
        Raises:
            ValueError: the size of the image is not `size`.
        """
        found = np.asarray(transform.field([index], size=size, seed=seed)[0])
        return cls(found, transform.labels, None if image is None else _picture(image, size))

    @property
    def positions(self) -> np.ndarray:
        """The source position of each pixel of the warped image, (element, (x, y), H, W)."""
        rows, columns = np.indices(self.fields.shape[-2:])
        return np.stack([columns, rows]) - self.fields

    def paint(self, canvas: Canvas) -> None:
        """Draw two rows of panels."""
        count = len(self.labels)
        axes = canvas.panels(2.6 * count, 5.4, rows=2, columns=count)
        for k, label in enumerate(self.labels):
            canvas.heading(axes[0, k], label)
            _draw_arrows(axes[0, k], self.fields[k], self.image, canvas)
            _draw_lines(axes[1, k], self.positions[k], canvas)


def _picture(image: Any, size: tuple[int, int]) -> np.ndarray:
    from invariscope.plots.shared.grid import stretch

    values = np.asarray(image, dtype=np.float64)
    values = values.mean(axis=0) if values.ndim == 3 else values
    if values.shape != tuple(size):
        raise ValueError(
            f"the image has {values.shape} pixels, but the fields have {tuple(size)}: use the same size."
        )
    return stretch(values)


def frame(ax: Axes, shape: tuple[int, ...], canvas: Canvas) -> None:
    """Fit the axes to the pixels of an image of that shape, with a frame and without ticks."""
    height, width = shape
    ax.set(xlim=(-1, width), ylim=(height, -1), aspect="equal", xticks=[], yticks=[])
    ax.spines[:].set_visible(True)
    ax.spines[:].set_color(canvas.colours.line)


def arrows(ax: Axes, x: np.ndarray, y: np.ndarray, vectors: np.ndarray, colour: str, width: float) -> None:
    """Draw (2, ...) displacements in pixels as arrows of their true length."""
    ax.quiver(x, y, *vectors, color=colour, width=width, angles="xy", scale_units="xy", scale=1)


def _draw_arrows(ax: Axes, field: np.ndarray, image: np.ndarray | None, canvas: Canvas) -> None:
    if image is not None:
        ax.imshow(image, cmap="gray", vmin=0, vmax=1, alpha=0.45, interpolation="none")
    step = max(1, max(field.shape[1:]) // 14)
    rows, columns = np.indices(field.shape[1:])[:, ::step, ::step]
    arrows(ax, columns, rows, field[:, ::step, ::step], canvas.colour(0), 0.008)
    frame(ax, field.shape[1:], canvas)


def _draw_lines(ax: Axes, positions: np.ndarray, canvas: Canvas) -> None:
    for position, n in zip(positions, positions.shape[:0:-1], strict=True):
        lines = np.linspace(0, n - 1, 15)[1:-1]
        ax.contour(position, levels=lines, colors=[canvas.colour(1)], linewidths=0.9)
    frame(ax, positions.shape[1:], canvas)
