"""A cell that decomposes the displacement fields of a transform patch by patch; it needs no network."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from invariscope.intervals import GROUPS, jackknife
from invariscope.lab.plots.local_fields import EXAMPLE, PARTS
from invariscope.lab.recipes.kinds.base import CellContext, Kind
from invariscope.lab.recipes.kinds.network_result import RESULT
from invariscope.results.rows import Point, Row

if TYPE_CHECKING:
    from invariscope.results.result import Result
    from invariscope.studies.local_decomposition import LocalDecomposition
    from invariscope.transforms.base import Transform

NAME, PATCH = "local_decomposition", "patch_px"
_SHOWN, _FEW = 2, 64

Means = dict[str, np.ndarray]


@dataclass(frozen=True, kw_only=True)
class Decompose(Kind):
    """Translation, compression, shear and rotation of random fields, as in `iv.local_decomposition`.

    The layers of the result are the patch sizes, such as "3 px". Its measures, each with an interval over
    fields, are:

    - `local_decomposition.translation`: mean displacement of a patch in pixels;
    - `.compression`, `.shear`, `.rotation`: mean norms;
    - `.share_compression`, `.share_shear`, `.share_rotation`: shares of the gradient's mean squared norm;
    - `.shear_to_compression`, `.rotation_to_compression`: ratios of mean norms;
    - `.leftover`: nonlinear share of the squared displacement within a patch, without translation.

    Args:
        transform: a transform with fields, such as "Diffeomorphism(1)"; its first element is used.
        size: pixels per side of the fields.
        fields: number of fields.
        patches: sides of the patches in pixels; patches are adjacent and do not overlap.
        seed: seed of the draws.
        label: the name of the ensemble in figures.
    """

    transform: str
    size: int = 32
    fields: int = 1000
    patches: list[int]
    seed: int = 0
    label: str | None = None

    @property
    def data_sets(self) -> tuple[tuple[str, str], ...]:
        """Empty: fields come from the transform alone."""
        return ()

    def check(self) -> None:
        """Reject transforms without fields, too few fields for an interval, and patches that do not fit."""
        from invariscope.studies.local_decomposition import local_decomposition

        if self.fields < GROUPS:
            raise ValueError(f"fields must be at least {GROUPS} for an interval; got {self.fields}")
        if not self.patches:
            raise ValueError("patches is empty: give at least one size, such as 3")
        for side in self.patches:
            local_decomposition(np.zeros((2, self.size, self.size)), side)
        self._transform()

    def run(self, context: CellContext) -> None:
        """Write `result/`."""
        context.log(f"decomposing {self.fields:,} fields of {self.size} × {self.size} pixels")
        self._result().save(context.folder / RESULT)

    def cost_units(self, other: Mapping[str, Kind]) -> tuple[Any, float]:
        """Count fields as units of work."""
        return ("decompose", self.transform, str(self.size), str(self.patches)), float(self.fields)

    def time_one_unit(self, other: Mapping[str, Kind], data_dir: Path | None) -> float:
        """Time a few fields."""
        started = time.perf_counter()
        self._means(self._drawn(_FEW))
        return (time.perf_counter() - started) / _FEW

    def _transform(self) -> Transform:
        from invariscope.catalog.expressions import read_transform

        transform = read_transform(self.transform)
        if not hasattr(transform, "field"):
            raise ValueError(
                f"{self.transform} has no displacement fields: give a family of deformations, such as "
                "Diffeomorphism(1)"
            )
        return transform

    def _drawn(self, count: int) -> np.ndarray:
        """Return (field, 2, H, W) displacements in pixels."""
        transform: Any = self._transform()
        found = transform.field(np.arange(count), size=(self.size, self.size), seed=self.seed)
        return found[:, 0].numpy()

    def _means(self, fields: np.ndarray) -> list[Means]:
        """Return (field,) means over the patches of each patch size."""
        from invariscope.studies.local_decomposition import local_decomposition

        return [_moments(fields, local_decomposition(fields, side), side) for side in self.patches]

    def _result(self) -> Result:
        from invariscope.results.result import Result

        fields = self._drawn(self.fields)
        groups = [np.flatnonzero(np.arange(self.fields) % GROUPS != k) for k in range(GROUPS)]
        rows, points = [], []
        for side, means in zip(self.patches, self._means(fields), strict=True):
            for number, (name, formula) in enumerate(FORMULAS.items()):
                row = self._row(name, side, formula, means, groups)
                rows.append(row)
                points.append(_point(row, number, side))
        return Result(
            rows=tuple(rows),
            curve_rows=tuple(points),
            provenance=self._provenance(),
            examples={EXAMPLE: fields[:_SHOWN].astype(np.float32)},
        )

    def _row(
        self, name: str, side: int, formula: Callable[[Means], float], means: Means, groups: list[np.ndarray]
    ) -> Row:
        value = formula(means)
        omitted = [formula({part: of[kept] for part, of in means.items()}) for kept in groups]
        sizes = [self.fields - len(kept) for kept in groups]
        interval = jackknife(value, omitted, sizes)
        units = (self.size // side) ** 2
        return Row(
            measure=f"{NAME}.{name}", layer=f"{side} px", call=0, stratum="all", value=value,
            **interval.columns, samples=self.fields, elements=1, units=units, counted_units=units,
            replicates=omitted, group_sizes=sizes,
        )  # fmt: skip

    def _provenance(self) -> dict[str, Any]:
        drawn = f"{self.transform}, {self.fields} fields of {self.size} px, seed {self.seed}"
        return {
            "seed": self.seed,
            "model": {"name": "fields", "label": self.label or self.transform},
            "data": {"name": "fields", "samples": self.fields, "shape": [2, self.size, self.size]},
            "transform": {"family": NAME, "labels": list(map(str, self.patches)), "fingerprint": drawn},
            "measures": {},
            "notes": [],
        }


def _moments(fields: np.ndarray, parts: LocalDecomposition, side: int) -> Means:
    """Return the (field,) means over patches from which all measures are computed."""
    norms = {part: getattr(parts, f"{part}_norm") for part in PARTS}
    shift = np.linalg.norm(parts.translation, axis=-3)
    linear = np.square(parts.matrix).sum(axis=(-4, -3)) * (side**2 - 1) / 12
    found = norms | {f"{part}_square": np.square(norm) for part, norm in norms.items()}
    found |= {"translation": shift, "linear": linear, "left": np.square(parts.leftover_px)}
    return {name: values.mean(axis=(-2, -1)) for name, values in found.items()}


def _share(part: str) -> Callable[[Means], float]:
    def share(means: Means) -> float:
        squares = {name: float(means[f"{name}_square"].mean()) for name in PARTS}
        return squares[part] / sum(squares.values())

    return share


def _mean(name: str) -> Callable[[Means], float]:
    return lambda means: float(means[name].mean())


def _ratio(above: str, below: str) -> Callable[[Means], float]:
    return lambda means: float(means[above].mean() / means[below].mean())


FORMULAS: dict[str, Callable[[Means], float]] = {
    "translation": _mean("translation"),
    **{part: _mean(part) for part in PARTS},
    **{f"share_{part}": _share(part) for part in PARTS},
    "shear_to_compression": _ratio("shear", "compression"),
    "rotation_to_compression": _ratio("rotation", "compression"),
    "leftover": lambda means: float(means["left"].mean() / (means["left"] + means["linear"]).mean()),
}


def _point(row: Row, element: int, side: int) -> Point:
    """Return a row as a point of the curve over patch sizes."""
    return Point(
        measure=row.measure, layer="fields", call=0, stratum="all", element=element, label=row.layer,
        parameter=PATCH, x=float(side), value=row.value, ci_low=row.ci_low, ci_high=row.ci_high,
        corrected=row.corrected, samples=row.samples,
    )  # fmt: skip
