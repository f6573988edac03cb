"""Measure an architecture on its own inputs and compare every leaf with plain hooks on the same batch."""

from __future__ import annotations

import copy
import time
import traceback
import warnings
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

import invariscope as iv
from benchmarks.architectures.comparison import MEASURES, difference
from benchmarks.architectures.own_inputs.catalogue import OwnInputs
from benchmarks.architectures.own_inputs.hooks import Forward, Reading, forward, readings, values
from benchmarks.architectures.plain_hooks import same_rows


@dataclass
class Outcome:
    """The outcome for one architecture.

    Args:
        own: the architecture.
        readings: number of floating readings of leaf modules with an axis of samples or rows.
        pooled: number of readings that were pooled.
        equal: number of readings whose values agree with plain hooks.
        wrong: readings that disagree, with the difference.
        skipped: readings that the library skipped, with its reason.
        absent: readings that the library neither read nor skipped.
        depend: skipped readings that differ for a sample alone and in a batch, as plain hooks confirm.
        operations: number of functional operations and other tensors read.
        refusal: the library's error message, if it rejected the model.
        draws: whether the model draws random numbers, as another seed shows, and so must be rejected.
        crash: any other error, with its location.
        notes: the library's warnings.
        seconds: wall time.
    """

    own: OwnInputs
    readings: int = 0
    pooled: int = 0
    equal: int = 0
    wrong: dict[str, str] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    absent: list[str] = field(default_factory=list)
    depend: list[str] = field(default_factory=list)
    others: Counter[str] = field(default_factory=Counter)
    operations: int = 0
    refusal: str = ""
    draws: bool = False
    crash: str = ""
    notes: list[str] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def said_to_depend(self) -> int:
        """Number of readings that the library skipped because they depend on the batch."""
        return sum("depends on the other inputs" in reason for reason in self.skipped.values())

    @property
    def passed(self) -> bool:
        """Whether every reading is right or skipped with a reason."""
        refused_rightly = self.draws and "depends on chance" in self.refusal
        sound = self.draws == refused_rightly and (refused_rightly or not self.refusal)
        right = not (self.wrong or self.absent or self.crash)
        return sound and right and len(self.depend) == self.said_to_depend


def examine(own: OwnInputs) -> Outcome:
    """Measure one architecture and compare every leaf."""
    outcome, started = Outcome(own), time.perf_counter()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        _compare(own, outcome)
    ours = {str(w.message).splitlines()[0] for w in caught if "invariscope" in str(w.filename)}
    outcome.notes, outcome.seconds = sorted(ours), time.perf_counter() - started
    return outcome


def _compare(own: OwnInputs, outcome: Outcome) -> None:
    model, samples = own.make()
    plain = copy.deepcopy(model)
    plain = plain.double() if own.precision == "float64" else plain
    moved = [element(sample) for sample in samples for element in own.elements]
    sizes = [len(moved), 7 * len(own.elements), 5 * len(own.elements)]
    trials = [forward(own, plain, moved[:size]) for size in sizes]
    wanted = readings(own, trials, forward(own, plain, moved[: sizes[-1]] * 2))
    outcome.readings, outcome.draws = len(wanted), _draws(own, plain, moved, trials[0])
    pool = {reading.label: pooling for reading in wanted if (pooling := _pooling(reading))}
    outcome.pooled = sum(reading.label in pool for reading in wanted)
    result = _measured(own, model, samples, pool, outcome)
    if result is None:
        return
    skipped = {(entry["layer"], entry["call"]): entry["reason"] for entry in result.provenance["skipped"]}
    read = {(row["layer"], row["call"]) for row in result.rows}
    names = {(reading.label, reading.key[1]) for reading in wanted}
    outcome.operations = len(read - names)
    outcome.others = Counter(reason for key, reason in skipped.items() if key not in names)
    for reading in wanted:
        _judge(own, reading, trials[0], result, skipped, read, outcome)
    _check_dependence(own, plain, moved, trials[0], wanted, outcome)


def _draws(own: OwnInputs, plain: nn.Module, moved: list[Any], first: Forward) -> bool:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        other = forward(own, plain, moved).notes
    pairs = ((tensor, other[key][1]) for key, (_, tensor) in first.notes.items() if key in other)
    return any(a.shape != b.shape or not torch.equal(a.nan_to_num(), b.nan_to_num()) for a, b in pairs)


def _pooling(reading: Reading) -> iv.Pool | None:
    place = reading.place
    if place.index:
        return iv.Pool("mean", index=place.index)
    return iv.Pool("mean", mask=place.mask) if place.mask else None


def _measured(own: OwnInputs, model: nn.Module, samples: list[Any], pool: Any, outcome: Outcome) -> Any:
    """Return a result, or None after recording the reason."""
    try:
        return iv.measure(
            model,
            samples,
            list(own.elements),
            measures=list(MEASURES),
            preprocess=own.collate,
            call=own.call,
            pool=pool or None,
            gradients=own.gradients,
            batch_size=len(samples) * len(own.elements),
            precision=own.precision,
            progress=False,
            rows="all",
            units="all",
        )
    except Exception as error:
        raised = traceback.extract_tb(error.__traceback__)[-1]
        text = f"{type(error).__name__}: {(str(error).strip().splitlines() or [''])[0]}"
        if isinstance(error, ValueError | TypeError) and "/invariscope/" in raised.filename:
            outcome.refusal = text
        else:
            outcome.crash = f"{text} ({raised.filename.rsplit('/', 1)[-1]}:{raised.lineno})"
        return None


def _judge(
    own: OwnInputs, reading: Reading, batch: Forward, result: Any, skipped: Any, read: Any, outcome: Outcome
) -> None:
    key = reading.label, reading.key[1]
    name = f"{reading.label} (call {reading.key[1]})"
    if key in skipped:
        outcome.skipped[name] = skipped[key]
    elif key not in read:
        outcome.absent.append(name)
    elif reading.place.several:
        outcome.wrong[name] = "it was read, although its units differ between samples"
    else:
        found = [v.unflatten(0, (-1, len(own.elements))) for v in values(reading, batch)]
        differs = min((difference(result, key, truth) for truth in found), key=len)
        if differs:
            outcome.wrong[name] = differs
        else:
            outcome.equal += 1


def _check_dependence(
    own: OwnInputs,
    plain: nn.Module,
    moved: list[Any],
    batch: Forward,
    wanted: list[Reading],
    outcome: Outcome,
) -> None:
    """Record which skipped readings differ for a sample alone and in a batch, as plain hooks confirm."""
    claimed = [
        r for r in wanted if "depends on the other" in outcome.skipped.get(f"{r.label} (call {r.key[1]})", "")
    ]
    claimed = [r for r in claimed if not r.place.several]
    alone = forward(own, plain, moved[:1]) if claimed else None
    for reading in claimed:
        if alone is not None and reading.key in alone.notes:
            pairs = zip(values(reading, batch), values(reading, alone), strict=True)
            if not any(same_rows(together[:1], one) for together, one in pairs):
                outcome.depend.append(f"{reading.label} (call {reading.key[1]})")
