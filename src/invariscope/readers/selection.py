"""Select layers by names, globs, lists of them, or a predicate."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from invariscope.common.globs import matches, matches_any
from invariscope.common.registry import closest
from invariscope.readers.base import AxisChoice, LayerInfo, Selection


@dataclass(frozen=True)
class Selector:
    """Rule that selects the layers to read.

    Args:
        patterns: names and globs; None if a predicate or the default layers are used.
        predicate: function of a `LayerInfo`.
        excluded: names and globs of layers that are never read.
    """

    patterns: tuple[str, ...] | None = None
    predicate: Callable[[LayerInfo], bool] | None = None
    excluded: tuple[str, ...] = ()

    def __call__(self, info: LayerInfo, *, default: bool, also: Sequence[str] = ()) -> bool:
        """Return whether to read this layer; `default` decides if the user made no selection.

        Args:
            also: further names by which patterns may select the layer.
        """
        if self.predicate is not None:
            return bool(self.predicate(info))
        return self.names(info.layer, *also, default=default)

    def names(self, *names: str, default: bool = True) -> bool:
        """Return whether the patterns select any of a layer's names; `default` if there are no patterns."""
        if any(matches_any(self.excluded, name) for name in names):
            return False
        return default if self.patterns is None else any(matches_any(self.patterns, name) for name in names)


def as_selector(layers: Selection) -> Selector:
    """Return the selector for a user's selection.

    Raises:
        TypeError: not a string, a list of strings, or a callable.
        ValueError: an empty list.
    """
    if layers is None:
        return Selector()
    if isinstance(layers, str):
        layers = [layers]
    if callable(layers):
        return Selector(predicate=layers)
    if not isinstance(layers, Sequence) or not all(isinstance(pattern, str) for pattern in layers):
        raise TypeError(
            f"layers must be a name, a glob, a list of them or a predicate, not {type(layers).__name__}"
        )
    if not layers:
        raise ValueError("layers=[] selects nothing: leave it out to read every layer")
    wanted = tuple(pattern for pattern in layers if not pattern.startswith("!"))
    excluded = tuple(pattern[1:] for pattern in layers if pattern.startswith("!"))
    return Selector(wanted or None, excluded=excluded)


@dataclass(frozen=True)
class Directory:
    """All layer names of a model, to check patterns and to report those that match no layer.

    Args:
        model: name of the model.
        names: layers that can be read.
        unused: layers that exist but never ran.
        listed: number of layers that `invariscope list layers` shows; each call of a shared module counts.
        also: further names by which patterns may select layers.
    """

    model: str
    names: tuple[str, ...]
    unused: tuple[str, ...]
    listed: int
    also: tuple[str, ...] = ()

    def check(self, selector: Selector) -> None:
        """Raise ValueError for the first pattern, wanted or excluded, that matches no layer."""
        for pattern in selector.patterns or ():
            self.find(pattern)
        for pattern in selector.excluded:
            self.find(pattern, sign="!")

    def find(self, pattern: str, *, sign: str = "", option: str = "") -> None:
        """Raise ValueError if the pattern matches no layer."""
        also = () if option else self.also  # only selections know these names
        if not any(matches(pattern, name) for name in (*self.names, *also, *self.unused)):
            raise self._unknown(pattern, sign, option)

    def nothing_chosen(self, selector: Selector, layers: object) -> ValueError:
        """Return the error for a selection that matches no layer."""
        never = next((p for p in selector.patterns or () if any(matches(p, n) for n in self.unused)), None)
        if never is not None:
            return ValueError(
                f"{never!r} exists in {self.model}, but its forward pass never ran it, so there is no output "
                "to read"
            )
        return ValueError(f"layers={layers!r} selects none of the {self.listed} layers of {self.model}")

    def _unknown(self, pattern: str, sign: str, option: str) -> ValueError:
        near = closest(pattern, self.names)
        numbered = [] if near else [name for name in self.names if name[:1].isdecimal()]
        lead = "Its layers have numbers for names, such as" if numbered else "Closest:"
        listed = ", ".join(map(repr, near or (numbered or self.names)[:3]))
        kinds = ", with their kinds" if numbered else ""
        return ValueError(
            f"{option}no layer matches {sign + pattern!r} in {self.model}. {lead} {listed}. "
            f"`invariscope list layers MODEL` shows all {self.listed}{kinds}."
        )


def as_axis_choice(batch_axis: AxisChoice) -> AxisChoice:
    """Check and return a user's choice of batch axes.

    Raises:
        TypeError: neither an integer nor a mapping from names to integers.
    """
    values = list(batch_axis.values()) if isinstance(batch_axis, Mapping) else [batch_axis]
    if batch_axis is not None and not all(type(axis) is int for axis in values):
        raise TypeError(f"batch_axis must be an axis or {{layer: axis}}, as integers; got {batch_axis!r}")
    return batch_axis


def axis_choice(batch_axis: AxisChoice, layer: str) -> int | None:
    """Return the user's batch axis for a layer, if any; an exact name takes precedence over globs."""
    if batch_axis is None or isinstance(batch_axis, int):
        return batch_axis
    if layer in batch_axis:
        return batch_axis[layer]
    return next((axis for pattern, axis in batch_axis.items() if matches(pattern, layer)), None)
