"""Empirical equivariance deviation (Kvinge et al. 2022)."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from typing import Any, ClassVar

import numpy as np
from scipy import special

from invariscope.actions.feature_actions import FeatureAction, MatrixAction, as_feature_action
from invariscope.actions.fitted_action import FittedAction
from invariscope.common.checks import refuse_other
from invariscope.measures.base import KnownAnswer, Measure
from invariscope.measures.naive_actions import naive_moved
from invariscope.measures.ridge_maps import held_out, naively_predicted
from invariscope.measures.values import ElementValues, LayerContext, LayerValues, Output, Values
from invariscope.statistics.discrepancy import DISTANCES, OVER, REFERENCES, Discrepancy
from invariscope.statistics.kept.sample_table import SampleTable
from invariscope.statistics.moments.orbit_regression import OrbitRegression, RegressionSums
from invariscope.statistics.rounding import quotient, ratio

_ALLOWED = {
    "latent": ("cosine", "l2", "squared_l2"),
    "channelwise": ("cosine", "l2", "squared_l2"),
    "output": ("kl", "cosine", "l2", "squared_l2"),
}
_FITTED = "squared_l2"
_RANGE = (-1.0, float("inf"))

_SIGNS = [[[1.0]], [[-1.0]], [[1.0]], [[-1.0]]]  # of quarter turns, for examples


@dataclass(frozen=True)
class EquivarianceDeviation(Measure):
    """How far a representation is from transforming as the group prescribes.

    Distance of a representation from equivariance under one choice of action on it.

    .. math:: E(f, G) = \\langle d(f(gx),\\; g\\,\\hat f(x)) \\rangle_{x, g}, \\qquad
        \\hat f(x) = \\langle f(gx) \\rangle_{g \\in \\ker}

    Shapes: activations (sample, element, unit...) to one number per layer, and one per element in
    `result.curves`. The kernel of the action on the representation is all of G if that action is trivial, and
    the identity alone if it is faithful. Similarities enter with a minus sign, so that larger is less
    equivariant: cosines lie in [−1, 1], with −1 perfect; distances and KL start at 0. The cosine of a zero
    vector is undefined; such terms are left out and counted (`undefined`).

    Caveats: raw cosines of a random network are close to −1, and so is their null, which uses f̂ of another
    sample. `one_plus` is 1 + E, and `to_null` is its ratio to 1 + null: 0 is equivariant; 1 is no more
    equivariant than with another sample's f̂; NaN if both are rounding errors, as for a constant network. The
    result depends on the action: a network can be equivariant under an action other than the one tested.

    Reading:
        Cosines: −1 is perfectly equivariant (or invariant, for the trivial action); distances: 0. Compare
        with the null, which uses another sample's reference: raw cosines of a random network are near −1, and
        so is their null. Only the chosen action is tested.

    Args:
        kind: "latent": each response is one vector, by default with the trivial action; any layer.
            "channelwise": one vector per channel, on which the elements act as on an image. "output": class
            probabilities (softmax of the outputs) compared with their mean over the orbit. A run may hold one
            measure per kind, distance and action, and its rows are named after them:
            `equivariance_deviation.latent`, `equivariance_deviation.latent_l2`.
        distance: "cosine" (the default), "l2", "squared_l2" or, for kind="output", "kl" (the default there;
            in nats, at most log min(|G|, K)).
        reference: "kernel", as above; "twirl" (if the action is not trivial): f̂ = ⟨g⁻¹f(gx)⟩ over all of G.
        exclude_identity: leave out the identity element, whose term is perfect by construction under a
            faithful action, which favours small groups.
        feature_action: the action of the elements on a response: "trivial", "spatial" (on each map as on an
            image), "regular" or "vector" (`FibreAction` of that representation: maps move as images, and
            their channels are mixed), or a `FibreAction` or `MatrixAction` of any representation. "fitted"
            (or a `FittedAction`): the affine map of f(x) that best predicts f(gx), as in
            `FittedEquivariance`, fitted on one half of the samples and evaluated on the other. It is computed
            from sums over samples, so the distance must be "squared_l2", the null is over all pairs of
            samples of a half, and a layer with more than `dims` units is randomly projected.

    Raises:
        ValueError: an unknown kind, distance, reference or action, or a combination that is not supported;
            when measuring: a representation that is not a homomorphism of the transform's group.

    Source:
        Kvinge, Emerson, Jorgenson, Vasquez, Doster and Lew 2022, arXiv:2210.03773, definition 3.

    >>> orthonormal = np.eye(4)[None]  # one sample, four elements, four units
    >>> print(EquivarianceDeviation().oracle(orthonormal, None)[""])
    -0.5
    """

    fewest_elements: ClassVar[int] = 2

    feature_action: FeatureAction | FittedAction | str | None = None
    _: KW_ONLY
    kind: str = "latent"
    distance: str = ""
    reference: str = "kernel"
    exclude_identity: bool = False

    def __post_init__(self) -> None:
        refuse_other(self, kind=OVER, reference=REFERENCES)
        fitted = isinstance(self.action, FittedAction)
        if not self.distance:
            object.__setattr__(self, "distance", _FITTED if fitted else _ALLOWED[self.kind][0])
        refuse_other(self, distance=DISTANCES)
        if self.distance not in _ALLOWED[self.kind]:
            fitting = ", ".join(_ALLOWED[self.kind])
            raise ValueError(f"kind={self.kind!r} supports the distances {fitting}; got {self.distance!r}")
        if fitted:
            self._refuse_unfit()
        trivial = self.action.name == "trivial"
        if self.kind == "output" and not trivial:
            raise ValueError(
                "kind='output' compares probabilities under the trivial action: leave out feature_action, or "
                "use kind='latent', which also reads the last layer"
            )
        if self.reference == "twirl" and trivial:
            raise ValueError(
                f"kind={self.kind!r} has a trivial action, for which kernel and twirl are the same: "
                "leave out reference='twirl', or use kind='channelwise'"
            )
        object.__setattr__(self, "needs_action", not trivial and not fitted)
        object.__setattr__(self, "scope", "output" if self.kind == "output" else "layers")

    def _refuse_unfit(self) -> None:
        """Raise ValueError for options that a fitted action does not support."""
        wanted = {"kind": "latent", "distance": _FITTED, "reference": "kernel"}
        for name, value in wanted.items():
            if getattr(self, name) != value:
                raise ValueError(
                    f"a fitted action is evaluated from sums over samples and supports only {name}={value!r}"
                    f"; got {getattr(self, name)!r}"
                )

    def outputs(self) -> dict[str, Output]:
        """Describe E: as it is, by element, shifted to start at 0, and relative to its null."""
        lengths = self.distance in ("l2", "squared_l2") and self.kind != "output"
        ideal, derived = -1.0 if self.distance == "cosine" else 0.0, float("nan")
        found = {
            "": Output("deviation", _RANGE, ideal, "activation" if lengths else ""),
            "by_element": Output("deviation by element", _RANGE, ideal),
            "to_null": Output("deviation relative to its null", _RANGE, derived, of_partners=True),
        }
        one_plus = {"one_plus": Output("1 + deviation", _RANGE, derived)}
        return found | (one_plus if self.distance == "cosine" else {})

    @property
    def form(self) -> str:
        """The kind, with distance and action unless they are the defaults: "latent", "latent_l2"."""
        distance = [] if self.distance == _ALLOWED[self.kind][0] else [self.distance]
        action = [] if self.feature_action is None else [self.action.called]
        return "_".join([self.kind, *distance, *action])

    @property
    def action(self) -> FeatureAction | FittedAction:
        """The action of the elements on a response."""
        if isinstance(self.feature_action, FittedAction):
            return self.feature_action
        if self.feature_action == FittedAction.name:
            return FittedAction()
        own = "spatial" if self.kind == "channelwise" else "trivial"
        return as_feature_action(own if self.feature_action is None else self.feature_action)

    def statistics(self) -> tuple[Discrepancy | OrbitRegression]:
        """Return the discrepancies per sample and element, or the sums from which an action is fitted."""
        action = self.action
        if isinstance(action, FittedAction):
            return (OrbitRegression(action.dims, action.seed),)
        chosen: Any = {"reference": self.reference, "exclude_identity": self.exclude_identity}
        return (Discrepancy(action, self.distance, self.kind, **chosen),)

    def evaluate(self, finals: Any, layer: LayerContext) -> dict[str, Values]:
        """Return E of one layer with its null, and by element."""
        (table,) = finals
        if isinstance(self.action, FittedAction):
            return fitted_deviation(table, self.action, exclude_identity=self.exclude_identity)
        values, null = (table.replicates(lambda part, w=which: _mean(part, w)) for which in ("", "null_"))
        undefined = int(table["undefined"].sum())
        found: dict[str, Values] = {
            "": LayerValues(values, float(null[0]), undefined),
            "by_element": ElementValues(table.replicates(lambda part: _mean(part, axis=0))),
        }
        if self.distance == "cosine":
            found["one_plus"] = LayerValues(1 + values, float(1 + null[0]), undefined)
            values, null = 1 + values, 1 + null
        rounding = table.replicates(lambda part: part["rounding"].max(initial=0.0))
        found["to_null"] = LayerValues(ratio(values, null, rounding=rounding), 1.0, undefined)
        return found

    def oracle(
        self, activations: np.ndarray, labels: np.ndarray | None, indices: np.ndarray | None = None
    ) -> dict[str, np.ndarray]:
        """Evaluate the definition directly, vector by vector; the group acts on channels by quarter turns."""
        if isinstance(self.action, FittedAction):
            left_out = {"exclude_identity": self.exclude_identity}
            return naive_fitted_deviation(activations, indices, self.action, **left_out)
        n, m = activations.shape[:2]
        terms = np.full((n, m, activations.shape[2] if self.kind == "channelwise" else 1), np.nan)
        for i in range(n):
            for j in range(1 if self.exclude_identity else 0, m):
                pairs = self._naive_pairs(activations[i], j)
                terms[i, j] = [_naive_distance(a.ravel(), b.ravel(), self.distance) for a, b in pairs]
        return {
            "": np.asarray(np.nanmean(terms)),
            "by_element": _silent_nanmean(terms.swapaxes(0, 1).reshape(m, -1)),
        }

    def _naive_pairs(self, orbit: np.ndarray, j: int) -> list[tuple[np.ndarray, np.ndarray]]:
        """Return pairs (f(g_j x), g_j f̂(x)), one per vector."""
        if isinstance(self.action, FeatureAction) and self.needs_action:
            moved = naive_moved(self._naive_centre(orbit), j, self.action)
            whole = [(orbit[j], moved)]
            return list(zip(orbit[j], moved, strict=True)) if self.kind == "channelwise" else whole
        if self.kind == "output":
            orbit = special.softmax(orbit, axis=1)
        return [(orbit[j], orbit.mean(axis=0))]

    def _naive_centre(self, orbit: np.ndarray) -> np.ndarray:
        """Return f̂(x) under quarter turns."""
        turns = range(len(orbit))
        assert isinstance(self.action, FeatureAction)
        if self.reference == "twirl":
            return np.mean([naive_moved(orbit[k], -k, self.action) for k in turns], axis=0)
        if self.action.name != "matrix":
            return orbit[0]
        same = [k for k in turns if np.allclose(naive_moved(orbit[0], k, self.action), orbit[0])]
        return np.mean(orbit[same], axis=0)

    @classmethod
    def examples(cls) -> tuple[EquivarianceDeviation, ...]:
        """Return instances of every kind with every distance, and with every other option."""
        plain = [cls(kind=kind, distance=distance) for kind in OVER for distance in _ALLOWED[kind]]
        twirled = cls(kind="channelwise", reference="twirl")
        without = (cls(exclude_identity=True), cls(kind="channelwise", exclude_identity=True))
        return (*plain, twirled, *without, *cls._acting_examples())

    @classmethod
    def _acting_examples(cls) -> tuple[EquivarianceDeviation, ...]:
        """Return spatial, fibre and matrix actions; under the signs, half turns act trivially."""
        signs = MatrixAction(_SIGNS)
        return (
            cls(feature_action="spatial"),
            cls(feature_action="regular", distance="l2"),
            cls(kind="channelwise", feature_action="regular", reference="twirl"),
            cls(kind="channelwise", feature_action="vector"),
            cls(feature_action=signs),
            cls(feature_action=MatrixAction("vector", axis=0), reference="twirl", distance="squared_l2"),
            cls(feature_action="fitted"),
            cls(feature_action=FittedAction(ridge=0.1, seed=1), exclude_identity=True),
        )

    @classmethod
    def known_answers(cls) -> tuple[KnownAnswer, ...]:
        """Return orthonormal orbits, maps that stay or turn, a kernel of two elements, and sure outputs."""
        orthonormal = np.stack([np.eye(4), np.eye(4)])
        corner = np.zeros((2, 4, 1, 2, 2))
        corner[..., 0, 0] = 1  # should turn with the input, so it agrees for one element of four
        row = np.zeros((1, 2, 2))
        row[0, 0] = 1
        turning = np.stack([np.rot90(row, j, axes=(1, 2)) for j in range(4)])[None].repeat(2, axis=0)
        certain = np.array([[[1.0, 0.0], [0.0, 1.0]]]).repeat(2, axis=0)
        still = row[None, None].repeat(4, axis=1).repeat(2, axis=0)  # against turned rows: 1, 1/2, 0, 1/2
        channels = {"kind": "channelwise"}
        # Quarter turns change the sign, half turns do nothing: f̂ = (3 + 1)/2, and each response is 1 away
        # from ±f̂.
        signed = {"feature_action": MatrixAction(_SIGNS), "distance": "l2"}
        flipping = np.array([[[3.0], [-1.0], [1.0], [-1.0]]]).repeat(2, axis=0)
        return (
            KnownAnswer({}, orthonormal, -0.5),
            KnownAnswer({}, orthonormal, 0.5, output="one_plus"),
            KnownAnswer(channels, corner, -0.25),
            KnownAnswer(channels | {"exclude_identity": True}, corner, 0.0),
            KnownAnswer(channels, turning, -1.0),
            KnownAnswer(channels, still, -0.5),
            KnownAnswer(signed, flipping, 1.0),
            KnownAnswer(signed | {"reference": "twirl"}, flipping, 0.75),  # f̂ = (3 + 1 + 1 + 1)/4
            KnownAnswer({"kind": "output"}, certain, np.log(2)),
        )


def _mean(table: SampleTable, which: str = "", axis: int | None = None) -> Any:
    """Return the mean over all defined terms, or one per element."""
    gap, count = table[f"{which}gap"], table[f"{which}count"]
    return quotient(gap.sum(axis=axis), count.sum(axis=axis))


def _naive_distance(a: np.ndarray, b: np.ndarray, distance: str) -> float:
    if distance == "cosine":
        size = np.sqrt((a @ a) * (b @ b))
        return -float(a @ b / size) if size > 0 else float("nan")
    if distance == "kl":
        return float(np.sum(a * np.log(a / b)))
    return float(np.sum((a - b) ** 2) ** (0.5 if distance == "l2" else 1.0))


def _silent_nanmean(values: np.ndarray) -> np.ndarray:
    """Return the (element,) mean of finite values; NaN if there are none."""
    finite = np.isfinite(values)
    return quotient(np.where(finite, values, 0).sum(axis=1), finite.sum(axis=1))


def fitted_deviation(
    sums: RegressionSums, action: FittedAction, *, exclude_identity: bool
) -> dict[str, Values]:
    """Return ⟨‖f(gx) − M_g f(x) − b_g‖²⟩, its null with f(x) of another sample, and their ratio."""
    parts = [held_out(sums, replicate, ridge=action.ridge) for replicate in range(len(sums.count))]
    by_element = np.stack([part.residual / part.samples for part in parts])
    crossed = np.stack([part.crossed / part.samples for part in parts])
    kept = sums.moving if exclude_identity else np.ones_like(sums.moving)
    values, null = by_element[:, kept].mean(axis=1), crossed[:, kept].mean(axis=1)
    note = "" if action.dims >= sums.units else f"{sums.units} units projected to {action.dims} directions"
    return {
        "": LayerValues(values, float(null[0]), note=note),
        "by_element": ElementValues(np.where(kept, by_element, np.nan)),
        "to_null": LayerValues(ratio(values, null), 1.0, note=note),
    }


def naive_fitted_deviation(
    activations: np.ndarray, indices: np.ndarray | None, action: FittedAction, *, exclude_identity: bool
) -> dict[str, np.ndarray]:
    """Compute what `fitted_deviation` computes from sums, but sample by sample, for the oracle."""
    flat, predicted, _ = naively_predicted(activations, indices, ridge=action.ridge, seed=action.seed)
    by_element = ((flat - predicted) ** 2).sum(axis=2).mean(axis=0)
    if exclude_identity:
        by_element[0] = np.nan
    return {"": np.asarray(np.nanmean(by_element)), "by_element": by_element}
