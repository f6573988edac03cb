"""The interface of readers, which run a model and pass on the output of every layer."""

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
from invariscope.common.samples import Inputs
from invariscope.readers.feeding import described_batch
from invariscope.readers.model_factories import makes_models, no_model
from invariscope.readers.model_files import model_of_file
from invariscope.readers.options import refuse_options
from invariscope.readers.prediction import OutputChoice, PredictionSelector
from invariscope.readers.torch.outputs import dtype_name

OK = "ok"
_NO_GRADIENT = "does not require grad"
_TRIED = "2 and 3"
_MISSING = re.compile(r"missing \d+ required .*argument")
_UNEXPECTED = re.compile(r"unexpected keyword argument")

LayerKey: TypeAlias = tuple[str, int]
Precision: TypeAlias = Literal["float32", "bf16", "float64"]


@dataclass(frozen=True, slots=True)
class Reading:
    """The output of one layer in one forward pass.

    Args:
        layer: name of the layer.
        call: number of the layer's run within this forward pass, from 0.
        values: (batch, *unit), with the batch axis first, followed by the channels of maps. A view
            of the model's own tensor: reduce or copy it before returning, since a later in-place operation
            may overwrite it.
        batch_axis: position of the batch axis in the tensor that the layer produced.
        alias_of: (layer, call) of an earlier reading in the same forward pass that has the same values in the
            same order; None if there is none.
        status: "ok", or why the layer is skipped (values may then be None). A layer that becomes unreadable
            in a later forward pass is skipped for the whole run.
        row_of: (row,) the sample of each row, if rows of a sample (atoms, nodes) are kept apart; `values` is
            then (row, *unit).
    """

    layer: str
    call: int
    values: Tensor | None
    batch_axis: int | None
    alias_of: LayerKey | None
    status: str = OK
    row_of: Tensor | None = None


@dataclass(frozen=True)
class Identity:
    """Digests that identify a model, function or transform.

    Args:
        digest: hexadecimal SHA-256.
        weights: for a module, the digest of its weights and buffers alone; otherwise equal to `digest`.
        unseen: places in the object that the digest does not cover, with the type found there.
        parts: values, and types with short digests, by place, for messages that say what differs.
    """

    digest: str
    weights: str
    unseen: tuple[str, ...] = ()
    parts: Mapping[str, str] = field(default_factory=dict, compare=False, repr=False)


@dataclass(frozen=True)
class LayerInfo:
    """One run of one layer, as found by an inspection.

    Args:
        layer, call: name of the layer, and number of its run within one forward pass, from 0.
        shape: shape of one sample's units, without the batch axis; for a skipped layer, shape of the whole
            tensor. Feature maps are (C, H, W), even if the network keeps their channels last.
        dtype: name of the dtype, such as "float32".
        kind: class of the module ("Conv2d"), or the operation ("function add").
        alias_of: (layer, call) of the reading that it repeats, if any.
        status: "ok", or why the layer is skipped.
        unclear: True if features are known to be on the last axis, but it is unknown whether the other axes
            are rows and columns.
        ragged: whether rows are kept apart, so that samples may differ in their number of rows; `shape` is
            then the shape of one row.
    """

    layer: str
    call: int
    shape: tuple[int, ...]
    dtype: str
    kind: str
    alias_of: LayerKey | None
    status: str = OK
    unclear: bool = False
    ragged: bool = False


@dataclass(frozen=True)
class Inspection:
    """The result of a trial forward pass.

    Args:
        layers: selected layers in the order in which the forward pass runs them, including skipped ones.
        unused: layers that the forward pass never ran, such as `out_proj` inside attention.
        notes: remarks for the user, for example about random draws, or about differences from a plain forward
            pass of the model.
        output: the model's prediction, or an entry whose status says why there is none; None if the model
            returns no tensor.
        prediction: position of the prediction in the model's output.
        sources: the layers from which each layer takes its values, None for the model's input; {} if unknown.
    """

    layers: tuple[LayerInfo, ...]
    unused: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    output: LayerInfo | None = None
    prediction: PredictionSelector = field(default_factory=PredictionSelector)
    sources: Mapping[LayerKey, tuple[LayerKey | None, ...]] = field(default_factory=dict, compare=False)

    @cached_property
    def readable(self) -> frozenset[LayerKey]:
        """The layers that are not skipped."""
        return frozenset((info.layer, info.call) for info in self.layers if info.status == OK)

    def without(self, key: LayerKey, reason: str) -> Inspection:
        """Return a copy with one more layer skipped, possibly one that the trial forward pass did not run."""
        if all((info.layer, info.call) != key for info in self.layers):
            late = LayerInfo(*key, (), "none", "module", None, reason)
            unused = tuple(name for name in self.unused if name != key[0])
            return replace(self, layers=(*self.layers, late), unused=unused)
        layers = (replace(i, status=reason) if (i.layer, i.call) == key else i for i in self.layers)
        return replace(self, layers=tuple(layers))

    def unrepeated(self, keys: Collection[LayerKey]) -> Inspection:
        """Return a copy in which these layers are no longer marked as repeats of another layer."""
        infos = (replace(i, alias_of=None) if (i.layer, i.call) in keys else i for i in self.layers)
        return replace(self, layers=tuple(infos))

    @cached_property
    def unclear(self) -> frozenset[LayerKey]:
        """Layers with features on the last axis for which it is unknown whether they are feature maps."""
        return frozenset((info.layer, info.call) for info in self.layers if info.unclear)


Sink: TypeAlias = Callable[[Reading], None]
Selection: TypeAlias = "str | Sequence[str] | Callable[[LayerInfo], bool] | None"
AxisChoice: TypeAlias = "int | Mapping[str, int] | None"


def _reason(reason: object, copied_for: str) -> str:
    """Return the message of the model's own error, followed by advice on common causes."""
    words = str(reason)
    if not isinstance(
        reason, RuntimeError | ValueError | TypeError
    ):  # other messages may be unclear without the exception's class
        words = f"{type(reason).__name__}: {reason}".removesuffix(": ")
    if isinstance(reason, RuntimeError) and _NO_GRADIENT in words:
        words = (
            "it differentiates inside its forward pass, which runs without autograd unless gradients=True "
            f"is passed (--gradients on the command line): {words}"
        )
    elif isinstance(reason, MemoryError) or re.search("out of memory|t allocate memory", words):
        words += ". Memory is short: give a smaller batch_size, or fewer layers"
    elif isinstance(reason, TypeError) and _MISSING.search(words):
        words += (
            ". Models are called with the batch alone: add the other arguments to the batch in preprocess=, "
            "or pass them with call=lambda model, batch: model(batch, ...)"
        )
    elif isinstance(reason, TypeError) and _UNEXPECTED.search(words):
        words += (
            ". The fields of a batch are passed as keywords: select what the model takes with "
            "call=lambda model, batch: ..., or return other fields from preprocess="
        )
    elif copied_for and isinstance(reason, RuntimeError | TypeError | AttributeError):
        words += (
            f". The model was copied, which {copied_for} requires; omit that option to measure the original"
        )
    return words


class FailedForward(ValueError):
    """Raised if the model fails on its inputs.

    Args:
        model: name of the model, with the layer where it failed.
        shape: shape of all inputs if a trial failed, otherwise of the batch; () if samples have no common
            shape.
        values: description of the inputs, with the number of inputs that were tried.
        reason: the model's own message.
    """

    def __init__(self, model: str, shape: Sequence[int], values: str, reason: object) -> None:
        inputs = f"inputs of shape {tuple(shape)} and " if shape else ""
        super().__init__(f"{model} failed on {inputs}{values}: {reason}")
        self.model, self.shape, self.values, self.reason = model, tuple(shape), values, reason

    @classmethod
    def on(
        cls, trial: Any, shape: Sequence[int], model: str, reason: object, *, copied_for: str = ""
    ) -> FailedForward:
        """Return the error for a trial on some of the inputs."""
        if not isinstance(trial, Tensor):
            return cls(model, (), f"a batch with {described_batch(trial)}", _reason(reason, copied_for))
        values = f"dtype {dtype_name(trial)}, {len(trial)} of which were tried"
        return cls(model, shape, values if shape else f"inputs of {values}", _reason(reason, copied_for))

    @classmethod
    def during(
        cls, batch: Any, model: str, reason: object, *, copied_for: str = "", tried: bool = True
    ) -> FailedForward:
        """Return the error for one batch; `tried`: whether the model had accepted the trial inputs."""
        words = _reason(reason, copied_for) + (f". It accepted batches of {_TRIED} inputs" if tried else "")
        if not isinstance(batch, Tensor):
            return cls(model, (), f"a batch with {described_batch(batch)}", words)
        return cls(model, batch.shape, f"dtype {dtype_name(batch)} (one batch)", words)

    def among(self, shape: Sequence[int]) -> FailedForward:
        """Return the same error with the shape of all inputs instead of that of the trial batch."""
        if not self.shape:
            return self
        return FailedForward(self.model, shape, self.values, self.reason)


class Enough(BaseException):
    """Raised by a sink to stop a forward pass once no further layer is needed.

    It does not derive from `Exception`, so that `except Exception` in a model does not catch it. Only readers
    whose `stops` is True end the forward pass.
    """


class Forward(Protocol):
    """Function that runs one forward pass, and calls `sink` with each layer's output when it is produced."""

    def __call__(self, x: Inputs, sink: Sink) -> Any:
        """Run one forward pass of x, a tensor or an array of samples, and return the model's output."""
        ...


class Reader(ABC):
    """Abstract base of readers, each of which reads one kind of model.

    Concrete subclasses in this package are registered automatically. Their constructor is
    `(model, *, layers=None, ...)`, with any subset of the options of `as_reader`; other options raise
    TypeError.
    """

    fallback: ClassVar[bool] = False
    """Whether to try this reader last, for models that no other reader recognises."""

    stops: ClassVar[bool] = False
    """Whether a sink may raise `Enough` to stop a forward pass, which then returns None."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        READERS.add(cls)

    @classmethod
    @abstractmethod
    def accepts(cls, model: Any) -> bool:
        """Return whether this reader can read the model."""

    @property
    @abstractmethod
    def name(self) -> str:
        """Name of the model, such as "ResNet"."""

    @property
    @abstractmethod
    def device(self) -> str:
        """Device of the model, such as "cpu" or "cuda:0"."""

    @property
    def remarks(self) -> tuple[str, ...]:
        """Notes on the forward passes so far that matter for interpreting results."""
        return ()

    @property
    def channels_last(self) -> bool:
        """Whether the data hold images as (n, H, W, C).

        The engine then moves the channels to the front for transforms, and the reader moves them back:
        `inspect` and the forward passes of `open` always take (n, C, H, W).
        """
        return False

    @abstractmethod
    def identity(self) -> Identity:
        """Return digests of everything that determines the model's responses, equal in every process."""

    def fingerprint(self) -> str:
        """Return the digest of `identity`."""
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
        self, x: Inputs, *, device: str | None = None, precision: Precision = "float32"
    ) -> Inspection:
        """Run the model on a few rows of x, at two batch sizes, and return which layers can be read.

        Args:
            x: a tensor (batch, ...) or an array of samples, preferably with several different inputs.
            device: where to run; None: the model's own device.
            precision: see `open`.
        Raises:
            ValueError: the model fails on these inputs, or a pattern matches no layer.
        """

    @abstractmethod
    def open(
        self, *, device: str | None = None, precision: Precision = "float32", seed: int = 0
    ) -> AbstractContextManager[Forward]:
        """Prepare the model for measuring; it is restored on exit, also after an error.

        Args:
            device: where to run; a copy runs if the model is on another device. None: the model's own device.
            precision: "float32": the model as it is; "bf16": a bfloat16 channels-last copy; "float64": a
                double-precision copy.
            seed: seed of the random numbers that the model draws in its forward passes.
        """


def prediction_info(prediction: PredictionSelector, kind: str) -> LayerInfo | None:
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
    preprocess: Callable[[Any], Any] | None = None,
    call: Callable[[Any, Any], Any] | None = None,
    pool: Any = None,
) -> Reader:
    """Return a reader for a model of any framework, a model file, or a callable that returns its layers.

    Args:
        model: the model; a reader is returned unchanged.
        layers: names, globs (`*` also matches dots; a container is read if a pattern matches its name), a
            list of them, or a predicate on `LayerInfo`; None reads every leaf module and functional
            operation.
        batch_axis: the batch axis, if it cannot be inferred: one integer for all layers, or {name or glob:
            axis}.
        output, gradients, preprocess, call, pool: see `iv.measure`.
    Raises:
        TypeError: an unsupported model, a class or function that returns a model, options together with a
            reader, or an option that does not apply to the model.
        ValueError: the model file is damaged.
    """
    if isinstance(model, str | PathLike):
        model = model_of_file(model)
    options = {"layers": layers, "batch_axis": batch_axis, "output": output, "gradients": gradients or None}
    options |= {"preprocess": preprocess, "call": call, "pool": pool}
    given = {name: value for name, value in options.items() if value is not None}
    if isinstance(model, Reader):
        if given:
            named = ", ".join(f"{name}=" for name in given)
            raise TypeError(f"a reader is created with its own {named}: pass them to its constructor")
        return model
    if isinstance(model, type) or makes_models(model, of_batches=bool(preprocess or call)):
        raise no_model(model)
    for cls in sorted(READERS.classes().values(), key=lambda cls: cls.fallback):
        if cls.accepts(model):
            refuse_options(cls, given)
            return cls(model, **given)  # type: ignore[call-arg]
    raise TypeError(
        f"cannot read a {type(model).__name__}: pass a torch.nn.Module, a Keras or Flax model, an exported "
        "program, the path of a model's file, a Reader, or a callable that returns {layer: array}"
    )
