"""Relative errors of equivariance and invariance, at worst and on average: what a test compares."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from invariscope.actions.feature_actions import FeatureAction, as_feature_action
from invariscope.common.registry import unknown
from invariscope.measures.base import (
    BY_ELEMENT,
    CurveValues,
    ElementValues,
    Identity,
    KnownAnswer,
    LayerContext,
    LayerValues,
    Measure,
    Values,
)
from invariscope.measures.relative_mean import about_infinite, interval_of_errors, relative_mean
from invariscope.measures.uncovered import EXTREME, PLACE
from invariscope.statistics.relative_errors import RelativeErrors

_PLACES = ("layers", "output")


@dataclass(frozen=True, kw_only=True)
class EquivarianceError(Measure):
    """The relative error of a layer that should follow the transform by a given action.

    .. math:: e_{ij} = \\frac{\\|a(t_j x_i) - t_j a(x_i)\\|}{\\|t_j a(x_i)\\|}, \\qquad
        E = \\langle e_{ij} \\rangle_{i,\\, t_j \\ne 1}, \\qquad \\mathrm{largest} = \\max_{ij} e_{ij}

    Shapes: activations (sample, element, unit...) to one number of each kind a layer: E; `largest`;
    `element` and `sample`, where that is (a position among the elements, and in the data). Curves:
    `by_element`, the mean over samples; `largest_by_element`; `action_by_element`, at most
    ‖t⁻¹t a(x) − a(x)‖/‖a(x)‖, what the action's own interpolation loses; `sample_by_element`, the sample of
    the largest. Of several actions the one with the smallest E is taken, whose position is `action`. Where
    positions move, units whose content comes from outside the image are left out. Pairs with ‖t a(x)‖ = 0 are
    left out of the means and counted (`undefined`); `largest` is infinite if the layer responds to t x then.
    A mean of nothing else is infinite too; NaN, if both responses are 0. The null of E takes a(x) from
    another sample.

    Misleads: a layer that does not look at its input is perfect; the null shows it, being 0 too. A large bias
    makes every error small. `largest` grows with the number of samples and has no interval. Interpolation
    alone causes an error: compare with the floor (`iv.measure(..., floor=True)`) and `action_by_element`.

    Args:
        feature_action: what the elements should do to a response, as for `EquivarianceDeviation`: "trivial"
            (an invariant layer), "spatial", "regular", "vector", an object, a mapping from layers to these;
            or a list of such actions, any one of which will do.
        of: "layers", or "output": of the model's output alone.

    Raises:
        ValueError: an action or place that does not exist; when measured: no layer has the action, or the
            action needs a group and the elements are none.

    Source:
        The definition of equivariance, a(t x) = t a(x), and its deviation relative to t a(x).

    >>> turned = np.array([[[1.0, 0.0], [0.0, 0.0]], [[0.0, 0.0], [1.0, 0.0]]])
    >>> print(EquivarianceError(feature_action="spatial").oracle(turned[None, :, None], None)["largest"])
    0.0
    """

    feature_action: FeatureAction | Mapping[str, Any] | str | tuple[Any, ...] | list[Any] = "spatial"
    of: str = "layers"

    single: ClassVar[frozenset[str]] = frozenset(
        {"largest", "element", "sample", "action", "largest_by_element"}
        | {"action_by_element", "sample_by_element"}
    )
    positions: ClassVar[frozenset[str]] = frozenset({"element", "sample", "action"})
    floorless: ClassVar[frozenset[str]] = frozenset({"element", "sample", "action", "action_by_element"})
    summary: ClassVar[str] = "How far a layer is from moving as it should, in units of its response."
    reading: ClassVar[str] = (
        "0: the layer follows the transform exactly; 1: the error is as large as the response. A layer that "
        "does not look at its input has 0 too, and a null of 0. Only the action that was chosen is judged."
    )

    def __post_init__(self) -> None:
        if self.of not in _PLACES:
            raise unknown("place", str(self.of), _PLACES)
        trivial = all(action.name == "trivial" for action in self.actions)
        object.__setattr__(self, "needs_action", not trivial)
        object.__setattr__(self, "scope", self.of)

    @cached_property
    def actions(self) -> tuple[FeatureAction, ...]:
        """The actions, any one of which will do."""
        given = self.feature_action
        several = given if isinstance(given, list | tuple) else (given,)
        if not several:
            raise ValueError("feature_action is an empty list; give one action at least, such as 'spatial'.")
        return tuple(as_feature_action(action) for action in several)

    @property
    def form(self) -> str:
        """The actions, and the place if it is the output, unless they are as usual."""
        named = "_or_".join(action.called for action in self.actions)
        parts = (named if named != "spatial" else "", self.of if self.of != "layers" else "")
        return "_".join(part for part in parts if part)

    @property
    def has_floor(self) -> bool:
        """True: after a round trip there is nothing left to undo."""
        return True

    @property
    def probes(self) -> tuple[Identity]:
        """The untransformed input."""
        return (Identity(),)

    def statistics(self) -> tuple[RelativeErrors]:
        """The errors of every sample and element, under every action."""
        return (RelativeErrors(self.actions),)

    def evaluate(self, finals: Any, layer: LayerContext) -> dict[str, Values]:
        """The errors under the action that fits best."""
        (table,) = finals
        means = {
            k: relative_mean(table[f"error.{k}"])
            for k in range(len(self.actions))
            if f"error.{k}" in table.columns
        }
        best = min(means, key=lambda k: (not means[k] < np.inf, means[k]))
        errors = table[f"error.{best}"]
        few, wide = interval_of_errors(table, errors, table[f"size.{best}"])
        found: dict[str, Values] = {
            "": LayerValues(
                table.replicates(lambda part: relative_mean(part[f"error.{best}"])),
                null=relative_mean(table[f"null.{best}"]),
                undefined=int(table[f"undefined.{best}"].sum()),
                note="; ".join(filter(None, (self._others(means, best), about_infinite(errors)))),
                uncovered=few,
                reach=wide,
            ),
            "by_element": ElementValues(table.replicates(lambda part: _column_means(part[f"error.{best}"]))),
            "action_by_element": ElementValues(
                _column_largest(table[f"trip.{best}"])[None],
                uncovered=EXTREME,
                counted=layer.moved(errors.shape[1]),
            ),
        }
        found |= _extremes(errors, table["index"])
        if len(self.actions) > 1:
            found["action"] = LayerValues(np.array([float(best)]), uncovered=PLACE)
        return found

    def _others(self, means: dict[int, float], best: int) -> str:
        """The actions that fit less well, with their errors."""
        if len(means) < 2:
            return ""
        others = (f"{self.actions[k].called}: {value:.3g}" for k, value in means.items() if k != best)
        return f"of the actions {self.actions[best].called} fits best; {', '.join(others)}"

    def oracle(self, activations: np.ndarray, labels: np.ndarray | None) -> dict[str, np.ndarray]:
        """The definition, response by response, for quarter turns."""
        tables = [_naive_errors(activations, action.name) for action in self.actions]
        best = int(np.argmin([np.mean(errors) for errors in tables]))
        errors = tables[best]
        sample, element = np.unravel_index(errors.argmax(), errors.shape)
        still = np.array([np.nan])
        found = {
            "": np.mean(errors),
            "largest": errors.max(),
            "element": np.array(1.0 + element),
            "sample": np.array(float(sample)),
            "by_element": np.concatenate([still, errors.mean(axis=0)]),
            "largest_by_element": np.concatenate([still, errors.max(axis=0)]),
            "sample_by_element": np.concatenate([still, errors.argmax(axis=0)]),
            "action_by_element": np.zeros(activations.shape[1]),
        }
        return found | ({"action": np.array(float(best))} if len(tables) > 1 else {})

    @classmethod
    def examples(cls) -> tuple[EquivarianceError, ...]:
        """Every action by name, several of them, one by layer, and the output."""
        several = cls(feature_action=("trivial", "regular", "spatial"))
        by_layer = cls(feature_action={"*": "spatial"})
        output = cls(feature_action="trivial", of="output")
        return (
            cls(),
            cls(feature_action="trivial"),
            cls(feature_action="regular"),
            several,
            by_layer,
            output,
        )

    @classmethod
    def known_answers(cls) -> tuple[KnownAnswer, ...]:
        """Two samples of one map: one follows the turns, one stays where it is."""
        follows = [np.rot90([[3.0, 0.0], [0.0, 4.0]], k) for k in range(4)]
        stays = [np.array([[2.0, 0.0], [0.0, 0.0]])] * 4
        maps = np.stack([follows, stays])[:, :, None]
        flat = {"feature_action": "trivial"}
        numbers = [[[3.0, 4.0], [3.0, 4.0]], [[0.0, 2.0], [1.0, 2.0]]]
        return (
            KnownAnswer({}, maps, 2**0.5 / 2),
            KnownAnswer({}, maps, 2**0.5, output="largest"),
            KnownAnswer({}, maps, 1.0, output="sample"),
            KnownAnswer({}, maps, [np.nan, 2**0.5 / 2, 2**0.5 / 2, 2**0.5 / 2], output="by_element"),
            KnownAnswer(flat, numbers, 0.25),
            KnownAnswer(flat, numbers, 0.5, output="largest"),
            KnownAnswer(flat, numbers, [np.nan, 1.0], output="sample_by_element"),
            KnownAnswer(
                {"feature_action": ("spatial", "trivial")}, maps, 1.0, output="action"
            ),  # 0.52 and 0.71
        )


def _column_means(errors: np.ndarray) -> np.ndarray:
    """(element,) mean over samples, see `relative_mean`."""
    return np.array([relative_mean(column) for column in errors.T])


def _column_largest(errors: np.ndarray) -> np.ndarray:
    """(element,) largest over the samples that have one; NaN where none has."""
    return np.array([column.max() if column.size else np.nan for column in map(_defined, errors.T)])


def _defined(column: np.ndarray) -> np.ndarray:
    return column[~np.isnan(column)]


def _extremes(errors: np.ndarray, indices: np.ndarray) -> dict[str, Values]:
    """The largest error, and where it is; of every element too."""
    filled = np.where(np.isnan(errors), -1.0, errors)
    largest = _column_largest(errors)
    worst = np.where(np.isnan(largest), np.nan, indices[filled.argmax(axis=0)])
    at = int(filled.max(axis=0).argmax())
    place = float("nan") if np.isnan(largest).all() else float(at)
    numbers = tuple(map(float, range(len(largest))))
    return {
        "largest": LayerValues(largest[at : at + 1], uncovered=EXTREME),
        "element": LayerValues(np.array([place]), uncovered=PLACE),
        "sample": LayerValues(worst[at : at + 1], uncovered=PLACE),
        "largest_by_element": ElementValues(largest[None], uncovered=EXTREME),
        "sample_by_element": CurveValues(worst[None], BY_ELEMENT, numbers, tuple(map(str, numbers))),
    }


def _naive_errors(activations: np.ndarray, action: str) -> np.ndarray:
    """(sample, element but the first) under quarter turns."""
    rows = []
    for orbit in activations:
        expected = [_naive_moved(orbit[0], k, action) for k in range(len(orbit))]
        gaps = [np.sqrt(np.sum((a - b) ** 2)) for a, b in zip(orbit, expected, strict=True)]
        rows.append([gap / np.sqrt(np.sum(b**2)) for gap, b in zip(gaps, expected, strict=True)][1:])
    return np.array(rows)


def _naive_moved(response: np.ndarray, turns: int, action: str) -> np.ndarray:
    """What so many quarter turns should make of a response."""
    if action == "trivial":
        return response
    moved = np.rot90(response, turns, axes=(-2, -1))
    if action != "fibre":
        return moved
    runs = moved.reshape(-1, 4, *moved.shape[1:])
    return np.roll(runs, turns, axis=1).reshape(moved.shape)
