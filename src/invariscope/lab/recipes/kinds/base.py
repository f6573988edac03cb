"""The base class of all kinds of cells: options with checks, a way to run, and a cost estimate."""

from __future__ import annotations

import abc
import contextlib
import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from invariscope.common.registry import Registry, unknown
from invariscope.lab.recipes.text import unknown_key

if TYPE_CHECKING:
    from invariscope.transforms import Transform
    from invariscope.zoo import ImageData

UNIT_DISPLACEMENTS = "zoo.unit_displacements()"
KINDS: Registry[Kind] = Registry("kind of cell", "invariscope.lab.recipes.kinds", None)


@dataclass(frozen=True)
class CellContext:
    """The environment in which a cell runs.

    Args:
        folder: files written here become the finished cell.
        kept: files written here survive an interruption.
        inputs: the folders of the finished cells that it needs, by name.
        data_dir: folder of the data sets; None: the default one.
        log: called with one line at a time.
        device: device on which networks are trained and measured, "cpu" or "cuda".
    """

    folder: Path
    kept: Path
    inputs: Mapping[str, Path] = field(default_factory=dict)
    data_dir: Path | None = None
    log: Callable[[str], None] = lambda text: None
    device: str = "cpu"

    def data(self, name: str, split: str, samples: int | None = None, *, seed: int = 0) -> ImageData:
        """Return a data set's images, or a seeded subset of them."""
        from invariscope import zoo

        return zoo.load(name, split=split, data_dir=self.data_dir, samples=samples, seed=seed)


class Kind(abc.ABC):
    """A kind of cell: a frozen dataclass whose fields are the options in TOML.

    Class attributes:
        gives: what the cell produces: a "network" that other cells may use, or a "result" for tables, claims
            and figures.
        takes_epochs: whether `model` may be "CELL@K", the network of CELL after epoch K.
        revision: increased whenever the same options lead to different numbers, for example if a default
            changes, so that older cells run again. A new option that changes nothing by default does not need
            a new revision.
    """

    gives: ClassVar[Literal["network", "result"]] = "result"
    takes_epochs: ClassVar[bool] = False
    revision: ClassVar[int] = 1

    def __init_subclass__(cls, *, name: str = "", **kwargs: Any) -> None:
        """Register the kind, by default under the snake_case of its name."""
        super().__init_subclass__(**kwargs)
        KINDS.add(cls, name)

    @property
    def needs(self) -> tuple[str, ...]:
        """Names of the cells whose network this one uses, from its option `model` or `start`."""
        named = getattr(self, "model", None) or getattr(self, "start", None)
        if named is None:
            return ()
        return (named.partition("@")[0] if self.takes_epochs else named,)

    @property
    @abc.abstractmethod
    def data_sets(self) -> tuple[tuple[str, str], ...]:
        """The (name, split) pairs of all data that the cell reads."""

    @abc.abstractmethod
    def check(self) -> None:
        """Reject invalid options.

        Raises:
            ValueError, TypeError: an invalid option; for unknown names, with the closest valid one.
        """

    @abc.abstractmethod
    def run(self, context: CellContext) -> None:
        """Run the cell and write its files."""

    @abc.abstractmethod
    def cost_units(self, other: Mapping[str, Kind]) -> tuple[Any, float]:
        """Return everything that determines the cost of one unit of work, and the number of units.

        Args:
            other: the options of all cells, by name.
        """

    @abc.abstractmethod
    def time_one_unit(self, other: Mapping[str, Kind], data_dir: Path | None) -> float:
        """Return the seconds per unit of work on this machine, measured on a few units."""


@contextlib.contextmanager
def about(option: str, text: str = "") -> Iterator[None]:
    """Add to errors a note with the option or text that caused them, so that its line can be found."""
    try:
        yield
    except (ValueError, TypeError) as error:
        for word in filter(None, (text, option)):
            error.add_note(word)
        raise


def check_network(name: str, options: Mapping[str, Any]) -> None:
    """Reject unknown networks, and options that a network does not take."""
    from invariscope.zoo.networks import NETWORKS

    check_keywords(NETWORKS.get(name), options, f"the options of {name}")


def check_keywords(function: Callable[..., Any], given: Iterable[str], what: str) -> None:
    """Reject options that are not keyword-only parameters of a function."""
    parameters = inspect.signature(function).parameters.values()
    known = [p.name for p in parameters if p.kind is p.KEYWORD_ONLY]
    for option in given:
        if option not in known:
            raise ValueError(unknown_key(option, known, what))


def check_one_model(model: str | None, network: str | None, options: Mapping[str, Any]) -> None:
    """Reject a cell that names both a training cell and a network, or neither."""
    if (model is None) == (network is None):
        raise ValueError(
            f"give either a training cell as model or a network, not both; got {model=}, {network=}"
        )
    if network is not None:
        check_network(network, options)


def architecture(cell: Any, other: Mapping[str, Kind]) -> tuple[str, dict[str, Any]]:
    """Return the name and options of the network that a cell uses: its own, or its training cell's."""
    trained: Any = cell if cell.network is not None else other[cell.needs[0]]
    return trained.network, trained.network_options


def check_data(name: str) -> None:
    """Reject unknown data sets."""
    from invariscope.zoo import DATASETS

    if name not in DATASETS:
        raise unknown("data set", name, DATASETS, hint="`invariscope list datasets` shows all.")


@cache  # hundreds of cells have the same transform
def transform_of(text: str) -> Transform:
    """Return the transform that a Python expression describes; "zoo.unit_displacements()" also works.

    Raises:
        ValueError, TypeError: as for `expressions.read_transform`.
    """
    from invariscope import zoo
    from invariscope.catalog.expressions import read_transform

    return zoo.unit_displacements() if text == UNIT_DISPLACEMENTS else read_transform(text)
