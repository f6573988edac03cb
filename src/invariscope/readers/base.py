"""What a reader is: it runs a model once and hands over what every layer produced."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from functools import cached_property
from os import PathLike
from typing import Any, ClassVar, Literal, Protocol, TypeAlias

from torch import Tensor

from invariscope.common.registry import Registry
from invariscope.readers.model_factories import makes_models, no_model
from invariscope.readers.model_files import model_of_file
from invariscope.readers.prediction import OutputChoice, Prediction

OK = "ok"
_NO_GRADIENT = "does not require grad"
_TRIED = "2 and 3"
_MISSING = re.compile(r"missing \d+ required .*argument")

LayerKey: TypeAlias = tuple[str, int]
Precision: TypeAlias = Literal["float32", "bf16", "float64"]


@dataclass(frozen=True, slots=True)
class Reading:
    """What one layer produced in one forward.

    Args:
        layer: the layer's name.
        call: which run of the layer within this forward, from 0.
        values: (batch, *unit), the batch axis moved to the front, and the channels of maps behind it. A view
            of the model's own tensor: reduce or copy it before returning, since a later in-place operation
            may overwrite it.
        batch_axis: where the batch axis was in the tensor that the layer produced.
        alias_of: (layer, call) of an earlier reading of the same forward that holds the same values in the
            same order; None if there is none.
        status: "ok", or why the layer is skipped (values may then be None). A layer that becomes unreadable
            in a later forward is skipped in the whole run.
    """

    layer: str
    call: int
    values: Tensor | None
    batch_axis: int | None
    alias_of: LayerKey | None
    status: str = OK


@dataclass(frozen=True)
class Identity:
    """Identifies a model, function or transform.

    Args:
        digest: hexadecimal SHA-256.
        weights: for a module, the digest of its weights and buffers alone; otherwise equal to `digest`.
        unseen: places in the object that the digest does not cover, with the type found there.
    """

    digest: str
    weights: str
    unseen: tuple[str, ...] = ()


@dataclass(frozen=True)
class LayerInfo:
    """What is known of one run of one layer before anything is measured.

    Args:
        layer: the layer's name.
        call: which run of the layer within one forward, from 0.
        shape: of one sample's units, without the batch axis; for a skipped layer of the whole tensor. Feature
            maps are (C, H, W), also where the network holds their channels last.
        dtype: "float32".
        kind: the module's class ("Conv2d"), or the operation ("function add").
        alias_of: (layer, call) that it repeats, if any.
        status: "ok", or why it is skipped.
        unclear: features come last, and it is not known whether the other axes are rows and columns.
    """

    layer: str
    call: int
    shape: tuple[int, ...]
    dtype: str
    kind: str
    alias_of: LayerKey | None
    status: str = OK
    unclear: bool = False


@dataclass(frozen=True)
class Inspection:
    """What a trial forward showed.

    Args:
        layers: the selected layers in the order in which the forward produces them, skipped ones included.
        unused: layers that the forward never ran (`out_proj` inside attention, say).
        notes: what the reader did otherwise than a plain forward.
        output: the prediction, with the reason as its status if there is none; None if the model returns no
            tensor.
        prediction: where it is in the model's output.
    """

    layers: tuple[LayerInfo, ...]
    unused: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    output: LayerInfo | None = None
    prediction: Prediction = field(default_factory=Prediction)

    @cached_property
    def readable(self) -> frozenset[LayerKey]:
        """The layers that are not skipped."""
        return frozenset((info.layer, info.call) for info in self.layers if info.status == OK)

    def without(self, key: LayerKey, reason: str) -> Inspection:
        """Return a copy with one more layer skipped, possibly one that the trial forward did not run."""
        if all((info.layer, info.call) != key for info in self.layers):
            late = LayerInfo(*key, (), "none", "module", None, reason)
            unused = tuple(name for name in self.unused if name != key[0])
            return replace(self, layers=(*self.layers, late), unused=unused)
        layers = (replace(i, status=reason) if (i.layer, i.call) == key else i for i in self.layers)
        return replace(self, layers=tuple(layers))

    def unrepeated(self, keys: Collection[LayerKey]) -> Inspection:
        """Return a copy in which these layers do not count as repeating another one."""
        infos = (replace(i, alias_of=None) if (i.layer, i.call) in keys else i for i in self.layers)
        return replace(self, layers=tuple(infos))

    @cached_property
    def unclear(self) -> frozenset[LayerKey]:
        """The layers of which it is not known whether they are maps."""
        return frozenset((info.layer, info.call) for info in self.layers if info.unclear)


Sink: TypeAlias = Callable[[Reading], None]
Selection: TypeAlias = "str | Sequence[str] | Callable[[LayerInfo], bool] | None"
AxisChoice: TypeAlias = "int | Mapping[str, int] | None"


def _dtype(x: Tensor) -> str:
    return str(x.dtype).removeprefix("torch.")


def _reason(reason: object, copied_for: str) -> str:
    """The model's own words, and what can be done if that is known."""
    words = str(reason) if isinstance(reason, RuntimeError | ValueError | TypeError) else _named(reason)
    if isinstance(reason, RuntimeError) and _NO_GRADIENT in words:
        words = (
            "it differentiates inside its forward, which runs without autograd unless gradients=True is "
            f"passed (--gradients on the command line): {words}"
        )
    elif isinstance(reason, TypeError) and _MISSING.search(words):
        words += ". Models are called with the inputs alone: wrap it so that it needs no more"
    elif copied_for and isinstance(reason, RuntimeError | TypeError | AttributeError):
        words += f". It ran as a copy, which {copied_for} needs; without that the model is measured as it is"
    return words


def _named(error: object) -> str:
    """An error with its class, without which the words of a KeyError or of an assertion say little."""
    return f"{type(error).__name__}: {error}".removesuffix(": ")


class FailedForward(ValueError):
    """The model raised an error on its inputs.

    Args:
        model: what to call it, with the layer where it failed.
        shape: of the inputs as the user gave them, of which a trial takes fewer; in a run that of the batch.
        values: number format and trial size.
        reason: the model's own words.
    """

    def __init__(self, model: str, shape: Sequence[int], values: str, reason: object) -> None:
        super().__init__(f"{model} failed on inputs of shape {tuple(shape)} of {values}: {reason}")
        self.model, self.values, self.reason = model, values, reason

    @classmethod
    def on(
        cls, trial: Tensor, shape: Sequence[int], model: str, reason: object, *, copied_for: str = ""
    ) -> FailedForward:
        """The error for a trial on some of the inputs."""
        values = f"{_dtype(trial)}, {len(trial)} of which were tried"
        return cls(model, shape, values, _reason(reason, copied_for))

    @classmethod
    def during(
        cls, batch: Tensor, model: str, reason: object, *, copied_for: str = "", tried: bool = True
    ) -> FailedForward:
        """The error for one batch; `tried`: the model took the trial inputs."""
        words = _reason(reason, copied_for) + (f". It took the {_TRIED} inputs of the trial" if tried else "")
        return cls(model, batch.shape, f"{_dtype(batch)} (one batch)", words)

    def among(self, shape: Sequence[int]) -> FailedForward:
        """The same error for inputs of which those at hand are a part."""
        return FailedForward(self.model, shape, self.values, self.reason)


class Forward(Protocol):
    """One forward: passes each layer's value to `sink` when it is produced; returns the model's output."""

    def __call__(self, x: Tensor, sink: Sink) -> Any:
        """One forward of x."""
        ...


class Reader(ABC):
    """Reads representations of one kind of model.

    A concrete subclass in this package is found by being defined. Its constructor is
    `(model, *, layers=None, batch_axis=None, output=None, gradients=False)`.
    """

    fallback: ClassVar[bool] = False
    """Asked last: takes what no other reader recognises."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        READERS.add(cls)

    @classmethod
    @abstractmethod
    def accepts(cls, model: Any) -> bool:
        """Whether this reader can read such a model."""

    @property
    @abstractmethod
    def name(self) -> str:
        """The model's name, "ResNet"."""

    @property
    @abstractmethod
    def device(self) -> str:
        """Where the model computes, "cpu" or "cuda:0"."""

    @property
    def channels_last(self) -> bool:
        """Whether the data hold images as (n, H, W, C).

        The engine then moves their channels to the front for transforms, and the reader moves them back: its
        `inspect` and `open` take (n, C, H, W) from everyone.
        """
        return False

    @abstractmethod
    def identity(self) -> Identity:
        """Return a digest of what determines the model's responses, the same in another process."""

    def fingerprint(self) -> str:
        """The digest of `identity`."""
        return self.identity().digest

    def described(self, label: str | None) -> dict[str, Any]:
        """Return the model's entry in a result's provenance.

        "unseen" lists what the fingerprint does not cover.
        """
        identity = self.identity()
        unseen = {"unseen": list(identity.unseen)} if identity.unseen else {}
        digests = {"fingerprint": identity.digest, "weights_digest": identity.weights}
        return {"name": self.name, "label": label} | digests | unseen

    @abstractmethod
    def inspect(
        self, x: Tensor, *, device: str | None = None, precision: Precision = "float32"
    ) -> Inspection:
        """Forwards a few rows of x, at two batch sizes, and says what can be read.

        Args:
            x: (batch, ...) at least one input; different ones tell more.
            device: where to run; None: where the model is.
            precision: as in `open`.
        Raises:
            ValueError: the model fails on such an input, or a pattern matches no layer.
        """

    @abstractmethod
    def open(
        self, *, device: str | None = None, precision: Precision = "float32", seed: int = 0
    ) -> AbstractContextManager[Forward]:
        """Prepares the model for measuring; on exit, also after an error, it is as it was.

        Args:
            device: where to run; None: where the model is; another device gets a copy.
            precision: "float32": the model as it is; "bf16": a bfloat16 channels-last copy; "float64": a
                double copy.
            seed: for models that draw random numbers in their forward.
        """


def prediction_info(prediction: Prediction, kind: str) -> LayerInfo | None:
    """Return a prediction's entry in an inspection; None if the model returns no tensor."""
    if not prediction.dtype:
        return None
    return LayerInfo("output", 0, prediction.shape, prediction.dtype, kind, None, prediction.problem or OK)


READERS: Registry[Reader] = Registry("reader", "invariscope.readers")


def as_reader(
    model: Any,
    *,
    layers: Selection = None,
    batch_axis: AxisChoice = None,
    output: OutputChoice = None,
    gradients: bool = False,
) -> Reader:
    """The reader of a model: of any framework, a file, a callable that returns {layer: array}, or a reader.

    Args:
        model: what to read.
        layers: names, globs (`*` crosses dots; a container is read when a pattern matches its name), a list
            of them, or a predicate on `LayerInfo`; None reads every leaf module and functional operation.
        batch_axis: the batch axis where it cannot be found: one for all layers, or {name or glob: axis}.
        output, gradients: as for `iv.measure`.
    Raises:
        TypeError: nothing that can be read, a class or function that makes a model, or options for a reader
            that chose its own.
        ValueError: a damaged file.
    """
    if isinstance(model, str | PathLike):
        model = model_of_file(model)
    if isinstance(model, Reader):
        if any(own is not None for own in (layers, batch_axis, output)) or gradients:
            raise TypeError(
                "a reader has its own layers=, batch_axis=, output= and gradients=: pass them when you "
                "create it"
            )
        return model
    if isinstance(model, type) or makes_models(model):
        raise no_model(model)
    for cls in sorted(READERS.classes().values(), key=lambda cls: cls.fallback):
        if cls.accepts(model):
            options = {"layers": layers, "batch_axis": batch_axis, "output": output, "gradients": gradients}
            return cls(model, **options)  # type: ignore[call-arg]
    raise TypeError(
        f"cannot read a {type(model).__name__}: pass a torch.nn.Module, a Keras or Flax model, an exported "
        "program, the path of a model's file, a Reader, or a callable that returns {layer: array}"
    )
