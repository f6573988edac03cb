"""Read Keras 3 models on any backend."""

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
        name: its Keras name, prefixed by the names of the enclosing models and layers.
        default: whether it is read if the user selects nothing.
        operation: whether it is a `keras.ops` operation of a functional model instead of a layer.
    """

    name: str
    layer: Any
    default: bool
    operation: bool

    @property
    def kind(self) -> str:
        """Name of the class or operation."""
        name = type(self.layer).__name__
        return f"function {name}" if self.operation else name


@dataclass(frozen=True, eq=False)
class KerasReader(RecordedReader):
    """Reader of every layer of a Keras 3 model in the order of the calls, in inference mode.

    Names: a layer has its Keras name (`conv2d_1`), prefixed by the name of the nested model that contains it
    (`encoder/dense`). A second layer with the same name is `dense#2`. Runs of a shared layer are
    distinguished by `call`. Operations of functional models (`keras.ops.add`) are read too; those in the
    `call` of a subclassed layer are not.

    Read by default: layers that contain no others, and all layers that Keras provides, such as attention and
    recurrent layers. Nested models, and your own layers that contain others, are read if a pattern names
    them.

    The data must have the layout that the model takes: channels last if its convolutions expect channels
    last. Transforms still see images as (n, C, H, W), and maps are read as (C, H, W).

    Args:
        model: a built `keras.Model` or layer.
        layers, batch_axis, output: as for `TorchReader`.
        gradients: must be False.
    """

    @classmethod
    def accepts(cls, model: Any) -> bool:
        """Return whether the model is a Keras 3 model or layer."""
        mro = type(model).__mro__
        return any(c.__name__ == "Layer" and c.__module__.startswith("keras.src.layers") for c in mro)

    @property
    def framework(self) -> str:
        """Name of the framework."""
        return "Keras"

    @property
    def placing(self) -> str:
        """How the user can choose the device."""
        return (
            "build or load the model inside `with keras.device('gpu:0'):`; backends use an "
            "available GPU by default"
        )

    @property
    def name(self) -> str:
        """Name of the model in Keras."""
        taken = any(site.name == self.model.name for site in self._sites)
        return f"{self.model.name}()" if taken else str(self.model.name)

    @property
    def channels_last(self) -> bool:
        """Whether images come as (n, H, W, C), according to the first layer with a `data_format`."""
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
        return Identity(whole.digest, identify(weights, self.name).digest, whole.unseen, whole.parts)

    @contextmanager
    def opened(self) -> Iterator[Opened]:
        """Yield the model itself; the `call` of its layers is replaced only during forward passes."""
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
    """Yield every layer of the model once, in the order in which Keras lists them."""
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
    """Return the layers and operations directly inside a layer, without input placeholders."""
    if not KerasReader.accepts(parent):
        return []
    layers = parent._flatten_layers(include_self=False, recursive=False)
    operations = getattr(parent, "operations", ())  # functional models list operations and layers together
    found = {id(child): child for child in (*operations, *layers)}
    return [child for child in found.values() if type(child).__name__ != "InputLayer"]


@contextmanager
def _watched(site: _Site, emit: Emitter, layouts: _Layouts) -> Iterator[None]:
    """Make a layer emit its output inside the context."""
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

    object.__setattr__(layer, "call", call)  # bypasses Keras's tracking of attributes
    try:
        yield
    finally:
        if before is None:
            object.__delattr__(layer, "call")
        else:
            object.__setattr__(layer, "call", before)


class _Layouts:
    """Channel layouts of maps, known after layers with a `data_format` and kept until a reshape."""

    def __init__(self, default: str) -> None:
        self.default = default
        self.known: dict[int, tuple[Any, str]] = {}  # with the arrays, to keep their ids valid

    def note(self, layer: Any, inputs: Any, value: Any) -> str:
        """Record and return the layout of a layer's output; "" unless it is a map."""
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
        f"{what} is not built: it has no weights yet. Call the model once on a batch, or call "
        "model.build(shape), then load its weights"
    )


def _config(model: Any) -> Any:
    try:
        return model.get_config()
    except Exception:  # subclassed models need not have one
        return None


def load_keras(path: Path) -> Any:
    """Load a Keras model from a `.keras` file.

    Raises:
        ValueError: the file does not contain a model, or the model needs custom code.
        ImportError: Keras is missing.
    """
    keras = needed("keras", "keras")
    try:
        return keras.saving.load_model(path, compile=False, safe_mode=True)
    except (ValueError, TypeError, OSError) as error:
        raise ValueError(
            f"cannot load a Keras model from {path} ({error}). A model with custom layers needs their code: "
            "load it in a function, and pass that function instead (file.py:function on the command line)"
        ) from error
