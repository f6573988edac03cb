"""Reads Keras 3 models, on whichever back-end they run."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cached_property, wraps
from pathlib import Path
from typing import Any

from torch import Tensor

from invariscope.readers.base import Identity
from invariscope.readers.emissions import Emitter, RefusedModel
from invariscope.readers.fingerprint import identify
from invariscope.readers.foreign import arrays_in, as_numpy, as_tensors, needed, own_code
from invariscope.readers.recorded import Opened, RecordedReader
from invariscope.readers.torch.functions import operation_name

_LAST, _FIRST, _UNCLEAR = "channels_last", "channels_first", "unclear"
_RESHAPING = {"Reshape", "Permute", "EinsumDense", "MultiHeadAttention", "GroupedQueryAttention", "Transpose"}
_VIEWS = {"ExpandDims", "GetItem", "Transpose", "Reshape", "Squeeze", "Cast", "Shape", "BroadcastTo"}
_LIBRARIES = ("keras", "tensorflow", "jax", "flax", "torch")
_MAP = 3  # axes of a batch of one-dimensional maps


@dataclass(frozen=True, eq=False)
class _Site:
    """A layer that may be read.

    Args:
        name: its Keras name, behind those of the models and layers it is nested in.
        default: read if the user selects nothing.
        operation: it is `keras.ops.…` in a functional model, and no layer.
    """

    name: str
    layer: Any
    default: bool
    operation: bool

    @property
    def kind(self) -> str:
        """The class, as the user knows it."""
        name = type(self.layer).__name__
        return f"function {name}" if self.operation else name


@dataclass(frozen=True, eq=False)
class KerasReader(RecordedReader):
    """Reads every layer of a Keras 3 model in the order of its calls, in inference mode.

    Names: a layer goes by its Keras name (`conv2d_1`), inside a nested model behind that model's name
    (`encoder/dense`); a second layer of the same name is `dense#2`. Runs of a shared layer are told apart by
    `call`. Operations of functional models (`keras.ops.add`) are read too; those in the `call` of a
    subclassed layer are not.

    Read by default: layers without layers inside, and all that Keras itself provides, such as attention and
    recurrent layers. Nested models, and layers of yours that hold others, are read if a pattern names them.

    Inputs are what the model takes. If its convolutions expect channels last, so must the data be:
    transforms see images as (n, C, H, W), and maps are handed over as (C, H, W), as for every other model.

    Args:
        model: a `keras.Model` or layer, built.
        layers, batch_axis, output: as for `TorchReader`.
        gradients: not available here.
    """

    @classmethod
    def accepts(cls, model: Any) -> bool:
        """Whether it is a layer or model of Keras 3."""
        mro = type(model).__mro__
        return any(c.__name__ == "Layer" and c.__module__.startswith("keras.src.layers") for c in mro)

    @property
    def framework(self) -> str:
        """Keras."""
        return "Keras"

    @property
    def placing(self) -> str:
        """What decides where the model runs."""
        return (
            "build or load the model inside `with keras.device('gpu:0'):`; a back-end that sees a GPU uses "
            "it without being asked"
        )

    @property
    def name(self) -> str:
        """The model's name in Keras."""
        taken = any(site.name == self.model.name for site in self._sites)
        return f"{self.model.name}()" if taken else str(self.model.name)

    @property
    def channels_last(self) -> bool:
        """Whether images come as (n, H, W, C), by the model's first layer that has an opinion."""
        return self._last

    @cached_property
    def _last(self) -> bool:
        formats = (getattr(site.layer, "data_format", None) for site in self._sites)
        return next((found == _LAST for found in formats if found), False)

    def identity(self) -> Identity:
        """Digest the classes and configuration of all layers, and their weights."""
        weights = [as_tensors(variable.value) for variable in self.model.weights]
        classes = [(site.name, own_code(site.layer, *_LIBRARIES)) for site in self._sites]
        whole = identify(
            (own_code(self.model, *_LIBRARIES), classes, _config(self.model), weights), self.name
        )
        return Identity(whole.digest, identify(weights, self.name).digest, whole.unseen)

    @contextmanager
    def opened(self) -> Iterator[Opened]:
        """Ready as it is: the layers' `call` is replaced during forwards only."""
        self._refuse_unbuilt()
        sites = self._sites

        def run(x: Tensor, emit: Emitter) -> Any:
            layouts = _Layouts(_LAST if self.channels_last else _FIRST)
            with ExitStack() as stack:
                for site in sites:
                    stack.enter_context(_watched(site, emit, layouts))
                return as_tensors(self.model(as_numpy(x), training=False))

        yield Opened(run, {site.name: site.default for site in sites})

    @cached_property
    def _sites(self) -> list[_Site]:
        return list(_walk(self.model, "", inside=False, seen={id(self.model)}))

    def _refuse_unbuilt(self) -> None:
        if not self.model.built:
            raise RefusedModel(_unbuilt(f"the Keras model {self.model.name!r}"))


def _walk(parent: Any, prefix: str, *, inside: bool, seen: set[int]) -> Iterator[_Site]:
    """Every layer below, in the order in which Keras lists them; a shared one once."""
    used: set[str] = set()
    for child in _children(parent):
        name, number = f"{prefix}{child.name}", 1
        while name in used:
            number += 1
            name = f"{prefix}{child.name}#{number}"
        used.add(name)
        if id(child) in seen:
            continue
        seen.add(id(child))
        operation = not KerasReader.accepts(child)
        whole = type(child).__module__.startswith("keras.src.layers") or not _children(child)
        view = operation and (
            type(child).__name__ in _VIEWS or not operation_name(type(child).__name__.lower())
        )
        yield _Site(name, child, whole and not inside and not view, operation)
        yield from _walk(child, f"{name}/", inside=inside or whole, seen=seen)


def _children(parent: Any) -> list[Any]:
    """Layers and operations directly inside, without those that only stand for an input."""
    if not KerasReader.accepts(parent):
        return []
    layers = parent._flatten_layers(include_self=False, recursive=False)
    operations = getattr(parent, "operations", ())  # of functional models, layers among them
    found = {id(child): child for child in (*operations, *layers)}
    return [child for child in found.values() if type(child).__name__ != "InputLayer"]


@contextmanager
def _watched(site: _Site, emit: Emitter, layouts: _Layouts) -> Iterator[None]:
    """Inside, the layer emits what it returns."""
    layer, before = site.layer, vars(site.layer).get("call")
    original: Callable[..., Any] = layer.call
    unbuilt = not site.operation and not layer.built

    @wraps(original)
    def call(*args: Any, **kwargs: Any) -> Any:
        if unbuilt and layer.weights:
            emit.refuse(_unbuilt(f"layer {site.name!r}"))
        value = original(*args, **kwargs)
        layout = layouts.note(layer, (args, kwargs), value) if emit.inspecting else ""
        about = {"channels_last": layout == _LAST, "unclear": layout == _UNCLEAR}
        emit(site.name, site.kind, value, default=site.default, operation=site.operation, **about)
        return value

    object.__setattr__(layer, "call", call)  # around the tracking of attributes
    try:
        yield
    finally:
        if before is None:
            object.__delattr__(layer, "call")
        else:
            object.__setattr__(layer, "call", before)


class _Layouts:
    """Where the channels of maps are: known after layers with a `data_format`, and kept until a reshape."""

    def __init__(self, default: str) -> None:
        self.default = default
        self.known: dict[int, tuple[Any, str]] = {}  # with the arrays, to keep their ids valid

    def note(self, layer: Any, inputs: Any, value: Any) -> str:
        """Return the layout of a layer's output, and remember it; "" unless it is a map."""
        arrays = [array for _, array in arrays_in(value)]
        own = getattr(layer, "data_format", None)
        maps = [array for array in arrays if len(getattr(array, "shape", ())) >= _MAP + (own is None)]
        if not maps:
            return ""
        layout = own or (_UNCLEAR if type(layer).__name__ in _RESHAPING else self._of(inputs))
        self.known |= {id(array): (array, layout) for array in maps}
        return layout

    def _of(self, inputs: Any) -> str:
        found = [self.known[id(array)][1] for _, array in arrays_in(inputs) if id(array) in self.known]
        return next(iter(found), self.default)


def _unbuilt(what: str) -> str:
    return (
        f"{what} is not built: it has no weights yet. Call the model once on a batch, or model.build(shape), "
        "and load its weights"
    )


def _config(model: Any) -> Any:
    try:
        return model.get_config()
    except Exception:  # subclassed models need not have one
        return None


def load_keras(path: Path) -> Any:
    """Return the model of a `.keras` file.

    Raises:
        ValueError: the file holds no model, or one that needs code of its own.
        ImportError: Keras is missing.
    """
    keras = needed("keras", "keras")
    try:
        return keras.saving.load_model(path, compile=False, safe_mode=True)
    except (ValueError, TypeError, OSError) as error:
        raise ValueError(
            f"{path} is no Keras model that can be loaded as it is ({error}). A model with layers of its own "
            "needs their code: load it in a function, and name that (file.py:function)"
        ) from error
