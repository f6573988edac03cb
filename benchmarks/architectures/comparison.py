"""Measure one architecture, compare it with plain hooks, and check that the model is unchanged."""

from __future__ import annotations

import copy
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Container
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

import invariscope as iv
from benchmarks.architectures.catalogue import Architecture
from benchmarks.architectures.claims import Name, judged
from benchmarks.architectures.plain_hooks import (
    Leaf,
    floating_leaves,
    leaves,
    responses,
    tensors_of,
    undefined,
)

RELATIVE = 1e-6
ROUNDING = 32  # rounding error of a response, in units in the last place
MEASURES = (
    iv.TransformationVariance(min_firing=0),
    iv.SampleVariance(min_firing=0),
    iv.NormalizedVariance(min_firing=0),
)


@dataclass
class Outcome:
    """The outcome for one architecture.

    Args:
        library, name: library and name of the architecture.
        leaves: number of floating readings with a batch axis from leaf modules.
        equal: number of readings whose values agree with plain hooks.
        wrong: readings that disagree, with the difference.
        skipped: readings that the library skipped, with its reason.
        absent: readings that the library neither read nor skipped.
        unexpected: readings of leaf modules in which plain hooks find no batch axis.
        batch_dependent: readings without a correct value, because plain hooks see different responses to a
            sample alone and in a batch.
        others: reasons for which other layers were skipped, with counts.
        claims: reasons for which outputs of leaf modules were skipped, and whether plain hooks agree; None if
            this cannot be checked.
        operations: number of functional operations read.
        refusal: the library's error message, if it rejected the model.
        draws: whether the model draws random numbers, as another seed shows, and so must be rejected.
        crash: any other error, with its location.
        changed: descriptions of what the measurement changed in the model.
        warned: the library's warnings.
        seconds: wall time.
    """

    library: str
    name: str
    leaves: int = 0
    equal: int = 0
    wrong: dict[str, str] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    absent: list[str] = field(default_factory=list)
    unexpected: list[str] = field(default_factory=list)
    batch_dependent: list[str] = field(default_factory=list)
    others: Counter[str] = field(default_factory=Counter)
    claims: dict[str, bool | None] = field(default_factory=dict)
    operations: int = 0
    refusal: str = ""
    draws: bool = False
    crash: str = ""
    changed: list[str] = field(default_factory=list)
    warned: list[str] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def untrue(self) -> list[str]:
        """Reasons that plain hooks contradict."""
        return [claim for claim, true in self.claims.items() if true is False]

    @property
    def passed(self) -> bool:
        """Whether all readings are right, all reasons are true, and the model is unchanged."""
        refused_rightly = self.draws and "depends on chance" in self.refusal
        sound = self.draws == refused_rightly and (refused_rightly or not self.refusal)
        right = not (self.wrong or self.absent or self.unexpected or self.untrue)
        return sound and right and not (self.crash or self.changed)


def examine(architecture: Architecture) -> Outcome:
    """Measure one architecture in both precisions and compare every leaf."""
    outcome = Outcome(architecture.library, architecture.name)
    started = time.perf_counter()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        _in_float32(architecture, outcome)
        _in_float64(architecture, outcome)
    ours = {str(w.message).splitlines()[0] for w in caught if "invariscope" in str(w.filename)}
    outcome.warned, outcome.seconds = sorted(ours), time.perf_counter() - started
    return outcome


def _measured(
    model: nn.Module, x: Tensor, architecture: Architecture, outcome: Outcome, **options: Any
) -> Any:
    """Return a result, or None after recording the reason."""
    try:
        elements = list(architecture.elements)
        how = {"progress": False, "rows": "all", "units": "all"} | options
        return iv.measure(model, x, elements, measures=list(MEASURES), **how)
    except Exception as error:
        raised = traceback.extract_tb(error.__traceback__)[-1]
        if isinstance(error, ValueError | TypeError) and "/invariscope/" in raised.filename:
            outcome.refusal = _first_line(error)
        else:
            outcome.crash = f"{_first_line(error)} ({raised.filename.rsplit('/', 1)[-1]}:{raised.lineno})"
        return None


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {(str(error).strip().splitlines() or [''])[0]}"


def _in_float32(architecture: Architecture, outcome: Outcome) -> None:
    """Measure a model that has never run, and check that this does not change it."""
    model, x = architecture.make()
    fresh, ran = copy.deepcopy(model), copy.deepcopy(model)
    before = _forward(ran, x)
    outcome.draws = not all(map(_same, before, _forward(ran, x, seed=1)))
    _measured(model, x, architecture, outcome)
    if _marks(model) not in (_marks(fresh), _marks(ran)):
        outcome.changed.append("hooks or attributes differ from those before and after a forward pass")
    state, original = model.state_dict(), fresh.state_dict()
    if not all(_same(state[name], original[name]) for name in original) or len(state) != len(original):
        outcome.changed.append("weights or buffers")
    if any(module.training for module in model.modules()):
        outcome.changed.append("mode")
    try:
        after = _forward(model, x)
    except Exception as error:
        outcome.changed.append(f"its next forward pass fails: {_first_line(error)}")
        return
    if len(before) != len(after) or not all(map(_same, before, after)):
        outcome.changed.append("output")


def _forward(model: nn.Module, x: Tensor, *, seed: int = 0) -> list[Tensor]:
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        return [tensor for _, tensor in tensors_of(model(x))]


def _same(a: Any, b: Any) -> bool:
    if not isinstance(a, Tensor) or not isinstance(b, Tensor):
        return a is b or a == b
    return a.shape == b.shape and bool(torch.equal(a.nan_to_num(), b.nan_to_num()))


def _marks(model: nn.Module) -> list[tuple[int, tuple[str, ...]]]:
    """Return the number of hooks and the names of attributes per module."""
    return [
        (len(module._forward_hooks) + len(module._forward_pre_hooks), tuple(sorted(vars(module))))
        for module in model.modules()
    ]


def _in_float64(architecture: Architecture, outcome: Outcome) -> None:
    model, x = architecture.make()
    plain, moved = copy.deepcopy(model).double(), x.double() if x.is_floating_point() else x
    wanted = floating_leaves(copy.deepcopy(plain), moved)
    outcome.leaves = len(wanted)
    result = _measured(model, x, architecture, outcome, precision="float64")
    if result is None:
        return
    skipped = {(entry["layer"], entry["call"]): entry["reason"] for entry in result.provenance["skipped"]}
    read = {(row["layer"], row["call"]) for row in result.rows}
    _note_others(outcome, {(leaf.label, leaf.key[1]) for leaf in wanted}, skipped, read, leaves(plain))
    outcome.claims = judged(skipped, plain, moved, architecture.elements)
    truth = responses(plain, moved, architecture.elements, wanted)
    for key in undefined(plain, moved, architecture.elements, wanted, truth):
        del truth[key]
    for leaf in wanted:
        _judge(leaf, truth.get(leaf.key), result, skipped, read, outcome)


def _note_others(
    outcome: Outcome, labels: set[Name], skipped: dict[Name, str], read: set[Name], modules: Container[str]
) -> None:
    """Record what was read or skipped besides floating outputs of leaf modules."""
    beside = {key for key in read - labels if key[0].split("[")[0] in modules}
    outcome.unexpected = sorted(f"{layer} (call {call})" for layer, call in beside)
    outcome.operations = len(read - labels - beside)
    outcome.others = Counter(reason for key, reason in skipped.items() if key not in labels)


def _judge(
    leaf: Leaf,
    values: Tensor | None,
    result: Any,
    skipped: dict[Name, str],
    read: set[Name],
    outcome: Outcome,
) -> None:
    key = leaf.label, leaf.key[1]
    name = f"{leaf.label} (call {leaf.key[1]})"
    if key in skipped:
        outcome.skipped[name] = skipped[key]
    elif key not in read:
        outcome.absent.append(name)
    elif values is None:
        outcome.batch_dependent.append(name)
    elif differs := difference(result, key, values):
        outcome.wrong[name] = differs
    else:
        outcome.equal += 1


def difference(result: Any, key: tuple[str, int], values: Tensor) -> str:
    """Describe how a layer's values differ from those of (sample, element, *unit) responses; "" if equal."""
    truth = Truth.of(values)
    for measure, (units, slack) in truth.expected().items():
        found = result.maps[measure, key[0], "all", key[1]]
        if differs := _map_differs(found, units, slack):
            return f"{measure}: {differs}"
        live = ~truth.dead & np.isfinite(units)
        mean = units[live].mean() if live.any() else np.nan
        row = next(r for r in result.rows if (r["measure"], r["layer"], r["call"]) == (measure, *key))
        allowed = RELATIVE * abs(mean) + (slack[live].max() if live.any() else 0)
        if not (abs(row["value"] - mean) <= allowed or (np.isnan(mean) and np.isnan(row["value"]))):
            return f"{measure}: the value of the layer is {row['value']:.9g}, not {mean:.9g}"
    return ""


@dataclass(frozen=True, eq=False)
class Truth:
    """Variances of every unit, computed from the definition.

    Args:
        along: transformation variance.
        across: sample variance.
        size: mean square of the responses of each unit.
        summands: mean square of what a response is summed from: that of the unit or of the layer, whichever
            is larger. A Fourier transform adds responses as large as the layer's to almost zero.
        epsilon: machine epsilon of the layer's dtype, which may be float32 in a float64 model.
    """

    along: np.ndarray
    across: np.ndarray
    size: np.ndarray
    summands: np.ndarray
    epsilon: float

    @classmethod
    def of(cls, responses: Tensor) -> Truth:
        """Compute the variances of (sample, element, *unit) responses."""
        values = responses.double().numpy()
        squares = np.square(values).mean((0, 1))
        size = np.maximum(np.maximum(squares, 1e-6 * squares.mean()), np.finfo(float).tiny)
        along, across = values.var(1, ddof=1).mean(0), values.var(0, ddof=1).mean(0)
        summands = np.maximum(size, squares.mean())
        return cls(along, across, size, summands, torch.finfo(responses.dtype).eps)

    @property
    def _zero(self) -> np.ndarray:
        share = 1e-10 if self.epsilon < 1e-12 else 32 * self.epsilon
        return share**2 * self.size

    @property
    def constant(self) -> np.ndarray:
        """Units that are constant over samples."""
        return self.across <= self._zero

    @property
    def dead(self) -> np.ndarray:
        """Units that are constant over samples and elements."""
        return self.constant & (self.along <= self._zero)

    def expected(self) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """Return, for each measure, the values of the units and the rounding error allowed."""
        slack, across_slack = self._slack(self.along), self._slack(self.across)
        with np.errstate(all="ignore"):
            ratio = np.where(self.constant, np.where(self.dead, np.nan, np.inf), self.along / self.across)
            ratio_slack = (slack + across_slack * ratio) / self.across
        return {
            "transformation_variance": (self.along, slack),
            "sample_variance": (self.across, across_slack),
            "normalized_variance": (ratio, ratio_slack),
        }

    def _slack(self, variance: np.ndarray) -> np.ndarray:
        rounding = ROUNDING * self.epsilon
        return rounding * np.sqrt(self.summands * variance) + rounding**2 * self.summands


def _map_differs(found: np.ndarray, units: np.ndarray, slack: np.ndarray) -> str:
    """Describe how a map differs. The library moves channels that come last to the front."""
    layouts = [found] + ([np.moveaxis(found, 0, -1)] if found.ndim > 1 else [])
    fitting = [laid_out for laid_out in layouts if laid_out.shape == units.shape]
    if not fitting:
        return f"units of shape {found.shape}, not {units.shape}"
    return min((_units_differ(laid_out, units, slack) for laid_out in fitting), key=len)


def _units_differ(found: np.ndarray, units: np.ndarray, slack: np.ndarray) -> str:
    if (np.isnan(found) != np.isnan(units)).any() or (np.isinf(found) != np.isinf(units)).any():
        kinds = [f"{np.isnan(m).sum()} dead and {np.isinf(m).sum()} infinite" for m in (found, units)]
        return f"of {found.size} units {kinds[0]}, not {kinds[1]}"
    live = np.isfinite(units)
    apart = np.abs(found - units)[live]
    off = apart > (RELATIVE * np.abs(units) + slack)[live]
    if not off.any():
        return ""
    worst = (apart / np.maximum(np.abs(units[live]), 1e-300)).max()
    return f"{off.sum()} of {live.sum()} units differ, by up to {worst:.2g} relative"
