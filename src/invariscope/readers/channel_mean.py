"""Read the mean over channels instead of each feature map."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from invariscope.common.samples import Inputs
from invariscope.readers.base import (
    OK,
    AxisChoice,
    Forward,
    Identity,
    Inspection,
    LayerInfo,
    LayerKey,
    Precision,
    Reader,
    Reading,
    Selection,
    Sink,
    as_reader,
)
from invariscope.readers.prediction import OutputChoice


@dataclass(frozen=True, eq=False)
class ChannelMean(Reader):
    """Reader that averages the feature maps of a model over channels.

    .. math:: \\bar a_s(x) = \\frac{1}{C} \\sum_{c=1}^{C} a_{c, s}(x)

    Shapes: (sample, C, H, W) becomes (sample, H, W). If the mean is much more stable than the single
    channels, later layers can become stable by averaging channels. The prediction is unchanged.

    Caveats: if channels cancel, the mean is small, and its stability relative to its own spread says
    little. Layers without spatial axes have no channels to average, and are listed as skipped.

    Args:
        model: any model that `iv.measure` takes: a module, a callable that returns its layers, or a reader.
        layers, batch_axis, output, gradients, preprocess, call, pool: as for the reader of that model.
        axis: channel axis of a sample; -1 for tokens × features.
    Raises:
        TypeError: an unsupported model.

    Source:
        Tomasini et al. 2022, arXiv:2210.01506, who distinguish averages over space and over channels.

    >>> import torch
    >>> reader = ChannelMean(lambda x: {"maps": torch.stack([x, 3 * x], dim=1)})
    >>> with reader.open() as forward:
    ...     _ = forward(torch.ones(2, 4), lambda reading: print(reading.values))
    tensor([[2., 2., 2., 2.],
            [2., 2., 2., 2.]])
    """

    model: Any
    layers: Selection = field(default=None, kw_only=True)
    batch_axis: AxisChoice = field(default=None, kw_only=True)
    output: OutputChoice = field(default=None, kw_only=True)
    gradients: bool = field(default=False, kw_only=True)
    preprocess: Callable[[Any], Any] | None = field(default=None, kw_only=True)
    call: Callable[[Any, Any], Any] | None = field(default=None, kw_only=True)
    pool: Any = field(default=None, kw_only=True)
    axis: int = field(default=0, kw_only=True)
    _reader: Reader = field(init=False, repr=False)

    def __post_init__(self) -> None:
        names = ("layers", "batch_axis", "output", "gradients", "preprocess", "call", "pool")
        reader = as_reader(self.model, **{name: getattr(self, name) for name in names})
        object.__setattr__(self, "_reader", reader)

    @classmethod
    def accepts(cls, model: Any) -> bool:
        """Return False: users create this reader explicitly."""
        return False

    @property
    def name(self) -> str:
        """Name of the model, with the suffix "channel means"."""
        return f"{self._reader.name}, channel means"

    @property
    def device(self) -> str:
        """Device of the model."""
        return self._reader.device

    def identity(self) -> Identity:
        """Return the identity of the model."""
        return self._reader.identity()

    def inspect(
        self, x: Inputs, *, device: str | None = None, precision: Precision = "float32"
    ) -> Inspection:
        """Inspect the model, and return the shapes of the means; see `Reader.inspect`."""
        found = self._reader.inspect(x, device=device, precision=precision)
        shapes = {(info.layer, info.call): info.shape for info in found.layers}
        return replace(found, layers=tuple(self._info(info, shapes) for info in found.layers))

    @contextmanager
    def open(
        self, *, device: str | None = None, precision: Precision = "float32", seed: int = 0
    ) -> Iterator[Forward]:
        """Open the model's own reader, and average everything that it reads."""
        with self._reader.open(device=device, precision=precision, seed=seed) as forward:

            def run(x: Inputs, sink: Sink) -> Any:
                shapes: dict[LayerKey, tuple[int, ...]] = {}
                return forward(x, lambda reading: sink(self._averaged(reading, shapes)))

            yield run

    def _averaged(self, reading: Reading, shapes: dict[LayerKey, tuple[int, ...]]) -> Reading:
        """Return the reading of the mean, recording the shape of the original."""
        if reading.values is None or reading.status != OK:
            return reading
        shape = tuple(reading.values.shape[1:])
        shapes[reading.layer, reading.call] = shape
        if problem := self._problem(shape):
            return replace(reading, values=None, alias_of=None, status=problem)
        values = reading.values.mean(dim=self.axis + 1 if self.axis >= 0 else self.axis)
        return replace(reading, values=values, alias_of=_alias(reading.alias_of, shape, shapes))

    def _info(self, info: LayerInfo, shapes: dict[LayerKey, tuple[int, ...]]) -> LayerInfo:
        if info.status != OK:
            return info
        if problem := self._problem(info.shape):
            return replace(info, alias_of=None, status=problem)
        left = list(info.shape)
        del left[self.axis]
        return replace(info, shape=tuple(left), alias_of=_alias(info.alias_of, info.shape, shapes))

    def _problem(self, shape: tuple[int, ...]) -> str:
        """Return why a layer has no channel mean; "" if it has one."""
        if len(shape) < 2:
            return f"no channels to average: a sample has shape {shape}"
        if not -len(shape) <= self.axis < len(shape):
            return f"no axis {self.axis} in a sample of shape {shape}"
        return ""


def _alias(
    original: LayerKey | None, shape: tuple[int, ...], shapes: dict[LayerKey, tuple[int, ...]]
) -> LayerKey | None:
    """Return the reading that a mean repeats; None if their shapes before averaging differ."""
    return original if original is not None and shapes.get(original) == shape else None
