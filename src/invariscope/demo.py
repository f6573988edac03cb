"""Demonstration: compare a small network trained on upright digits with one trained on rotated digits.

from invariscope import demo

shown = demo.run("invariscope-demo")
shown.differences
print(shown.sentence)
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import invariscope
from invariscope import zoo
from invariscope.common.cards import Card
from invariscope.common.files import write_json
from invariscope.common.progress import progress_bars
from invariscope.common.publishing import entries, filling, settle
from invariscope.common.reading import read_json
from invariscope.engine.api import measure
from invariscope.report import findings, write_report
from invariscope.results.compare import compare
from invariscope.studies.illustrate import illustrate
from invariscope.transforms.rotation import Rotation

if TYPE_CHECKING:
    import pandas as pd

    from invariscope.results.result import Result

PLAIN, ROTATED = "plain", "rotated"
MEASURE = "normalized_variance"
ROTATION = Rotation.circle(16)

_MARK = "demo.json"

Tick = Callable[[int, "int | None"], None]
Bars = Callable[[str], Tick]


@dataclass(frozen=True, kw_only=True)
class DemoSettings:
    """Settings of the demonstration.

    Args:
        seed: seed of all random draws.
        filters: number of filters in the first block of SimpleConv (32 in the publication).
        plain_epochs, rotated_epochs: number of training epochs for each network; rotated digits need more
            epochs.
        training_digits: number of training digits, up to the 8,000 bundled ones.
        digits: number of test digits to measure, with 16 rotations each.
    """

    seed: int = 0
    filters: int = 16
    plain_epochs: int = 3
    rotated_epochs: int = 9
    training_digits: int = 8000
    digits: int = 512


@dataclass(frozen=True)
class Demonstration:
    """Results of the demonstration.

    Args:
        folder: folder with `report.html`, both results and both networks.
        plain, rotated: the results.
        reused: whether the networks of an earlier run with the same settings were reused.
    """

    folder: Path
    plain: Result
    rotated: Result
    reused: bool

    @property
    def report(self) -> Path:
        """Path of the page that compares both networks."""
        return self.folder / "report.html"

    @property
    def differences(self) -> pd.DataFrame:
        """Normalized variance per layer: plain, rotated, and difference with its interval."""
        rows = compare([self.plain, self.rotated])
        return rows.query("measure == @MEASURE and stratum == 'all'").reset_index(drop=True)

    @property
    def sentence(self) -> str:
        """Sentences that state how both networks differ in invariance and accuracy."""
        text = findings.compared(self.differences, MEASURE, findings.transform_name(self.plain))
        return f"{text} {_accuracies(self.plain, self.rotated)}"

    def _repr_html_(self) -> str:
        where = "`.differences` compares both by layer; `.plain` and `.rotated` are the results"
        return Card(self.sentence, (f"Report: {self.report}",), remarks=[f"{where}."]).html()


def run(
    folder: str | Path = "invariscope-demo",
    *,
    settings: DemoSettings | None = None,
    bars: Callable[[], AbstractContextManager[Bars]] | None = None,
    log: Callable[[str], None] = lambda text: None,
) -> Demonstration:
    """Train both networks, measure both under rotation, and write one report.

    The networks of an earlier demonstration in the folder are reused if their settings are the same;
    everything else is replaced.

    Args:
        folder: new, empty, or from an earlier demonstration.
        settings: None for the default settings, which take about a minute on two cores.
        bars: opens the progress bars and yields `bar`; `bar(title)` returns `tick(done, total)`. None: bars
            in a terminal or notebook.
        log: called with progress messages.
    Raises:
        FileExistsError: the folder contains other files.
    """
    settings, folder = settings or DemoSettings(), Path(folder)
    mark = asdict(settings) | {"invariscope": invariscope.__version__}
    earlier = _earlier_mark(folder)
    with filling(folder, last=_MARK, patience_s=0.0) as scratch:
        reused = earlier == mark and _networks_kept(folder, scratch)
        if earlier is not None:
            log(f"{folder} contains an earlier demonstration: {_takeover(reused)}")
        with (bars or progress_bars)() as bar:
            plain, rotated = (_result(name, scratch, settings, bar) for name in (PLAIN, ROTATED))
        write_report([plain, rotated], scratch / "report.html")
        write_json(scratch / _MARK, mark)
    return Demonstration(folder, plain, rotated, reused=reused)


def _accuracies(plain: Result, rotated: Result) -> str:
    tables = (result.table.query("measure == 'prediction.accuracy'") for result in (plain, rotated))
    before, after = (float(table["value"].iloc[0]) for table in tables)
    return (
        f"Over all rotations, {ROTATED} recognises {100 * after:.0f} % of the digits and {PLAIN} "
        f"{100 * before:.0f} %."
    )


def _result(name: str, scratch: Path, settings: DemoSettings, bar: Bars) -> Result:
    """Train a network unless it exists, measure it and save the result."""
    folder = scratch / "networks" / name
    if not folder.exists():
        _train(name, folder, settings, bar(f"training {name}"))
    model, _ = zoo.load_network(folder)
    digits = zoo.load("mnist_subset", samples=settings.digits, seed=settings.seed)
    measures, tick = (MEASURE, "prediction"), bar(f"measuring {name}")
    result = measure(
        model,
        digits,
        ROTATION,
        measures=measures,
        by_class=True,
        seed=settings.seed,
        label=name,
        progress=tick,
    )
    result = illustrate(result, model, digits, ROTATION)
    result.save(scratch / "results" / name)
    return result


def _train(name: str, folder: Path, settings: DemoSettings, tick: Tick) -> None:
    data = zoo.load("mnist_subset", split="train", samples=settings.training_digits, seed=settings.seed)
    options = {"filters": settings.filters}
    card = zoo.Card(
        network="simple_conv",
        input_shape=data.shape,
        classes=data.classes,
        options=options,
        seed=settings.seed,
    )
    model = card.build()
    trained = zoo.train(
        model,
        data,
        epochs=settings.plain_epochs if name == PLAIN else settings.rotated_epochs,
        augmentation=None if name == PLAIN else ROTATION,
        batch_size=64,
        lr=2e-3,
        seed=settings.seed,
        test=zoo.load("mnist_subset"),
        progress=lambda at: tick((at.epoch - 1) * at.batches + at.batch, at.epochs * at.batches),
    )
    zoo.save_network(folder, model, replace(card, training=trained.describe()))


def _earlier_mark(folder: Path) -> dict[str, Any] | None:
    """Return the settings of an earlier demonstration; None for a new, empty or unfinished folder."""
    settle(folder)
    if not folder.is_dir() or not entries(folder):
        return None
    try:
        mark = read_json(folder / _MARK)
    except (OSError, ValueError):
        mark = None
    if not isinstance(mark, dict) or "invariscope" not in mark:
        raise FileExistsError(
            f"{folder} contains files that are not from a demonstration. Give another folder."
        )
    return mark


def _networks_kept(folder: Path, scratch: Path) -> bool:
    """Copy both networks of the earlier demonstration and return True, unless one is missing or damaged."""
    try:
        for name in (PLAIN, ROTATED):
            zoo.load_network(folder / "networks" / name)
    except (ValueError, FileNotFoundError):
        return False
    shutil.copytree(folder / "networks", scratch / "networks")
    return True


def _takeover(reused: bool) -> str:
    if reused:
        return "its networks are reused, and everything else is replaced."
    return "its settings differ or its networks are missing, so everything is replaced."
