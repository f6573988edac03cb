"""Relative errors of equivariance and invariance, mean and largest."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from invariscope.actions.feature_actions import FeatureAction, as_feature_action
from invariscope.actions.kept_positions import kept_positions
from invariscope.block import Block, NotApplicableError, UnclearLayoutError
from invariscope.common.checks import refuse_other
from invariscope.measures.base import KnownAnswer, Measure
from invariscope.measures.interval_limits import EXTREME, PLACE
from invariscope.measures.naive_actions import naive_errors
from invariscope.measures.relative_errors import mean_error, relative, relative_mean
from invariscope.measures.values import (
    BY_ELEMENT,
    CurveValues,
    ElementValues,
    LayerContext,
    LayerValues,
    Output,
    Values,
)
from invariscope.statistics.discrepancy import Discrepancy
from invariscope.statistics.kept.sample_table import Columns, SampleStatistic, SampleTable
from invariscope.statistics.probes import Untransformed


@dataclass(frozen=True, kw_only=True)
class EquivarianceError(Measure):
    """How far a layer's response is from changing as the action prescribes, relative to its size.

    Relative error of a layer whose response should follow the transform by a given action.

    .. math:: e_{ij} = \\frac{\\|a(t_j x_i) - t_j a(x_i)\\|}{\\|t_j a(x_i)\\|}, \\qquad
        E = \\langle e_{ij} \\rangle_{i,\\, t_j \\ne 1}, \\qquad \\mathrm{largest} = \\max_{ij} e_{ij}

    Shapes: activations (sample, element, unit...) to one number per layer and output: E; `largest`; `element`
    and `sample`, the positions of the largest error among the elements and in the data. Curves: `by_element`,
    the mean over samples; `largest_by_element`; `sample_by_element`, the sample with the largest error;
    `action_by_element`, the largest ‖t⁻¹t a(x) − a(x)‖/‖a(x)‖ over samples, which is the error of the
    action's own interpolation. If several actions are given, the one with the smallest E is used, and
    `action` is its position in the list. If the action moves positions, units whose content comes from
    outside the image are left out. Pairs with ‖t a(x)‖ = 0 are left out of the means and counted
    (`undefined`); if the layer responds to t x, their error is infinite, and so is `largest`. If ‖t a(x)‖ = 0
    for all pairs, the mean is infinite, or NaN if all responses to t x are 0 too. The null of E takes a(x)
    from another sample.

    Caveats: a layer that ignores its input has an error of 0, but then its null is 0, too. A large
    bias makes every error small. `largest` grows with the number of samples and has no interval.
    Interpolation alone causes an error: compare with the floor (`iv.measure(..., floor=True)`) and
    `action_by_element`.

    Reading:
        0: the layer follows the transform exactly; 1: the error is as large as the response. A layer that
        ignores its input also has an error of 0, and a null of 0. Only the chosen action is tested.

    Args:
        feature_action: the action of the elements on a response, as for `EquivarianceDeviation`: "trivial"
            (an invariant layer), "spatial", "regular", "vector", an object, a mapping from layers to these;
            or a list of alternative actions, the best of which is used.
        of: "layers", or "output" for the model's output only.

    Raises:
        ValueError: an unknown action or value of `of`; when measuring: the action applies to no layer, or it
            needs a group but the elements do not form one.

    Source:
        The definition of equivariance, a(t x) = t a(x), and its deviation relative to t a(x).

    >>> turned = np.array([[[1.0, 0.0], [0.0, 0.0]], [[0.0, 0.0], [1.0, 0.0]]])
    >>> print(EquivarianceError(feature_action="spatial").oracle(turned[None, :, None], None)["largest"])
    0.0
    """

    feature_action: FeatureAction | Mapping[str, Any] | str | tuple[Any, ...] | list[Any] = "spatial"
    of: str = "layers"

    def __post_init__(self) -> None:
        refuse_other(self, of=("layers", "output"))
        trivial = all(action.name == "trivial" for action in self.actions)
        object.__setattr__(self, "needs_action", not trivial)
        object.__setattr__(self, "scope", self.of)

    @cached_property
    def actions(self) -> tuple[FeatureAction, ...]:
        """The alternative actions."""
        given = self.feature_action
        several = given if isinstance(given, list | tuple) else (given,)
        if not several:
            raise ValueError("feature_action is an empty list; give at least one action, such as 'spatial'.")
        return tuple(as_feature_action(action) for action in several)

    @property
    def form(self) -> str:
        """The actions, unless they are the default, and "output" if only the output is measured."""
        named = "_or_".join(action.called for action in self.actions)
        parts = (named if named != "spatial" else "", self.of if self.of != "layers" else "")
        return "_".join(part for part in parts if part)

    def outputs(self) -> dict[str, Output]:
        """Describe E, the largest error with its position, and the curves."""
        place: Any = {"kind": "position", "interval": False, "floor": False}
        found = {
            "": Output("mean relative error"),
            "largest": Output("largest relative error", interval=False),
            "element": Output("element of the largest error", **place),
            "sample": Output("sample of the largest error", **place),
            "by_element": Output("mean relative error by element"),
            "largest_by_element": Output("largest relative error by element", interval=False),
            "sample_by_element": Output("sample of the largest error by element", interval=False),
            "action_by_element": Output("error of the action itself", interval=False, floor=False),
        }
        return found | ({"action": Output("best action", **place)} if len(self.actions) > 1 else {})

    def statistics(self) -> tuple[AnyAction]:
        """Return the errors per sample and element, under every action."""
        return (AnyAction(self.actions),)

    def evaluate(self, finals: Any, layer: LayerContext) -> dict[str, Values]:
        """Return the errors under the best-fitting action."""
        (table,) = finals
        present = [k for k in range(len(self.actions)) if f"gap.{k}" in table.columns]
        means = {k: relative_mean(relative(table, of=f".{k}")) for k in present}
        best = min(means, key=lambda k: (not means[k] < np.inf, means[k]))
        of, lost = f".{best}", np.fmax.reduce(table[f"trip.{best}"], axis=0)[None]
        errors, moved = relative(table, of=of), layer.moved(table[f"gap{of}"].shape[1])
        null = relative_mean(relative(table, of=of, which="null_"))
        found: dict[str, Values] = {
            "": mean_error(table, of=of, null=null, note=self._others(means, best)),
            "by_element": ElementValues(table.replicates(lambda part: _means_by_element(part, of))),
            "action_by_element": ElementValues(lost, uncovered=EXTREME, counted=moved),
        }
        found |= _extremes(errors, table["index"])
        if len(self.actions) > 1:
            found["action"] = LayerValues(np.array([float(best)]), uncovered=PLACE)
        return found

    def _others(self, means: dict[int, float], best: int) -> str:
        """Return a note on the actions that fit less well, with their errors."""
        if len(means) < 2:
            return ""
        others = (f"{self.actions[k].called}: {value:.3g}" for k, value in means.items() if k != best)
        return f"the action {self.actions[best].called} fits best; {', '.join(others)}"

    def oracle(self, activations: np.ndarray, labels: np.ndarray | None) -> dict[str, np.ndarray]:
        """Compute the definition response by response, for quarter turns."""
        tables = [naive_errors(activations, action) for action in self.actions]
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
        """Return every named action, several of them, one per layer, and the output."""
        actions = ("spatial", "trivial", "regular", ("trivial", "regular", "spatial"), {"*": "spatial"})
        return (*(cls(feature_action=one) for one in actions), cls(feature_action="trivial", of="output"))

    @classmethod
    def known_answers(cls) -> tuple[KnownAnswer, ...]:
        """Return two samples with one feature map each; one map follows the turns, the other stays."""
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


@dataclass(frozen=True)
class AnyAction(SampleStatistic):
    """The columns of a `Discrepancy` under each of several actions, suffixed ".k"; and "index" (sample,).

    "trip.k" (sample, element) is ‖t_j⁻¹ t_j a(x_i) − a(x_i)‖ / ‖a(x_i)‖, the error of the action itself; NaN
    if the elements do not have an inverse. Actions that do not apply to a layer have no columns.
    """

    paired = True
    reads = (Untransformed(),)
    actions: tuple[FeatureAction, ...]

    def moves_positions(self, layer: str, axes: int) -> bool:
        """Return whether any of the actions moves positions."""
        return any(action.moves_positions(layer, axes) for action in self.actions)

    def alike(self, layer: str, other: str) -> bool:
        """Return whether all actions are the same on both layers."""
        return all(action.alike(layer, other) for action in self.actions)

    def rows(self, block: Block) -> Columns:
        """Return the errors per sample of the block."""
        found: dict[str, Tensor | np.ndarray] = {"index": block.indices}
        reasons = []
        for number, action in enumerate(self.actions):
            statistic = Discrepancy(action, mask="if_known", exclude_identity=True)
            try:
                columns = statistic.rows(block) | {"trip": _trip(block, action)}
            except UnclearLayoutError:  # not even the trivial action is meaningful for such a layer
                raise
            except NotApplicableError as error:
                reasons.append(str(error))
            else:
                found |= {f"{name}.{number}": column for name, column in columns.items()}
        if len(reasons) == len(self.actions):
            raise NotApplicableError("; ".join(dict.fromkeys(reasons)))
        return found


def _trip(block: Block, action: FeatureAction) -> Tensor:
    """Return the (sample, element) relative change caused by applying the action and then its inverse."""
    rest, size = block.rest().double()[:, None], (block.samples, block.elements)
    if block.restored or not action.moves_positions(block.layer, block.values.ndim - 1):
        return rest.new_zeros(size)
    there = action.moved(block, rest[:, 0])
    try:
        back, kept = action.applied(block, there, inverse=True), kept_positions(block)
    except NotApplicableError:  # no inverse
        return rest.new_full(size, torch.nan)
    lost, whole = (((part * kept).flatten(2)).norm(dim=2) for part in (back - rest, rest))
    return lost / whole


def _means_by_element(part: SampleTable, of: str) -> list[float]:
    """Return the (element,) mean over samples, see `relative_mean`."""
    return [relative_mean(column) for column in relative(part, of=of).T]


def _extremes(errors: np.ndarray, indices: np.ndarray) -> dict[str, Values]:
    """Return the largest error and its position, overall and per element."""
    filled = np.where(np.isnan(errors), -1.0, errors)
    largest = np.fmax.reduce(errors, axis=0)  # ignores NaN
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
