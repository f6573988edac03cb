"""Models by name: user code, the zoo, other libraries, exported programs and trained networks."""

from __future__ import annotations

import ast
import importlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from invariscope.cli.console import notice
from invariscope.cli.data import load_data
from invariscope.cli.references import is_reference, load_reference
from invariscope.common.registry import closest, unknown

if TYPE_CHECKING:
    from invariscope.cli.options import Origin
    from invariscope.results.result import Result
    from invariscope.zoo import Card

FORMS = {
    "file.py:factory": "a function or class of yours that returns the model when called without arguments",
    "package.module:factory": "the same, from an importable module",
    "zoo:NAME(options)": "a network of this package with random weights, such as zoo:simple_conv(filters=8)",
    "torchvision:NAME": "with published weights; needs the package torchvision",
    "timm:NAME": "with published weights; needs the package timm",
    "hf:NAME": "from the Hugging Face hub, safetensors only; needs the package transformers",
    "FILE.pt2": "an exported program (torch.export.save); it is code, so open only files that you trust",
    "FILE.onnx": "an ONNX graph; needs the packages onnx and onnxruntime",
    "FILE.keras": "a Keras 3 model (model.save); needs keras and a back-end",
    "FOLDER": "a network that `invariscope train` wrote",
}
_ONLY_WEIGHTS = (".pt", ".pth", ".ckpt", ".bin")

RANDOM = "random"


@dataclass(frozen=True)
class Request:
    """Requirements for loading a model.

    Args:
        weights: None for the model's own or published weights, "random" for freshly drawn ones, otherwise a
            file with weights of that architecture.
        shape: (C, H, W) of the inputs, or None if unknown.
        classes: number of classes, or None if unknown.
        seed: seed of random weights.
    """

    weights: str | None = None
    shape: tuple[int, ...] | None = None
    classes: int | None = None
    seed: int = 0

    @property
    def bare(self) -> bool:
        """Whether only the architecture is needed because the weights come from elsewhere."""
        return self.weights is not None


@dataclass(frozen=True)
class Named:
    """A loaded model with its label.

    Args:
        fresh: whether the weights were drawn just now.
        card: the card of a network that `train` wrote.
        seed: seed of freshly drawn weights.
    """

    model: Any
    label: str
    fresh: bool = False
    card: Card | None = None
    seed: int = 0

    def summary(self, result: Result) -> Result:
        """Return the result, marked with the seed if the weights were drawn just now."""
        return result.weighted(f"random, seed {self.seed}") if self.fresh else result

    def prepared(self, data: Any) -> Any:
        """Return images standardized as in the network's training; other data unchanged."""
        from invariscope.zoo import ImageData

        return self.card.prepared(data) if self.card and isinstance(data, ImageData) else data


def loaded(model: str, data: str, origin: Origin, *, seed: int = 0) -> tuple[Named, Any]:
    """Return the model and the data that a command names, the data prepared for the model.

    Prints a notice if the model's weights were drawn just now.
    """
    inputs = load_data(data, split=origin.split, data_dir=origin.data_dir)
    classes = getattr(inputs, "classes", None)
    shape = getattr(inputs, "shape", None)
    named = load_model(model, Request(origin.weights, shape, classes and len(classes), seed))
    if named.fresh and origin.weights is None:
        notice(f"{model} has random weights (seed {seed}): train it first, or give --weights FILE")
    return named, named.prepared(inputs)


def load_model(name: str, request: Request | None = None) -> Named:
    """Load a model by name.

    Raises:
        ValueError: a name of an unknown form, weights that do not fit, or an unsupported format.
        FileNotFoundError: the file does not exist.
        ImportError: an optional package is missing; the message names it.
    """
    request = request or Request()
    found = replace(_found(name, request), seed=request.seed)
    if request.weights is None:
        return found
    if request.weights != RANDOM:
        return replace(found, model=_filled(found.model, Path(request.weights)), fresh=False)
    model = found.model if found.fresh else _redrawn(found.model, request.seed)
    return replace(found, model=model, label=f"{found.label}, random", fresh=True)


def _found(name: str, request: Request) -> Named:
    scheme, _, rest = name.partition(":")
    if scheme in _SCHEMES and rest:
        return _SCHEMES[scheme](rest, request)
    if is_reference(name):
        return Named(load_reference(name), f"{Path(scheme).name.removesuffix('.py')}:{rest}")
    return _from_path(Path(name))


def _filled(model: Any, path: Path) -> Any:
    from torch import nn

    from invariscope.zoo import load_weights

    if not isinstance(model, nn.Module):
        raise ValueError(f"--weights {path} needs a torch module, got {type(model).__name__}")
    if not path.is_file():
        raise FileNotFoundError(f"no weights file {path}; --weights takes a file or the word {RANDOM}")
    return load_weights(model, path)


def _redrawn(model: Any, seed: int) -> Any:
    from torch import nn

    from invariscope.variants.randomized import random_network

    if not isinstance(model, nn.Module):
        raise ValueError(f"--weights random needs a torch module, got {type(model).__name__}")
    return random_network(model, RANDOM, seed=seed)


def read_network(text: str) -> tuple[str, dict[str, Any]]:
    """Return the name and options of a zoo network written as "simple_conv(filters=8)".

    >>> read_network("simple_conv(filters=8)")
    ('simple_conv', {'filters': 8})
    """
    try:
        tree = ast.parse(text.strip(), mode="eval").body
        call = tree if isinstance(tree, ast.Call) else ast.Call(tree, [], [])
        if isinstance(call.func, ast.Name) and not call.args and all(k.arg for k in call.keywords):
            return call.func.id, {str(k.arg): ast.literal_eval(k.value) for k in call.keywords}
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        pass
    raise ValueError(f"cannot read the network {text!r}; write simple_conv, or simple_conv(filters=8)")


def _from_zoo(text: str, request: Request) -> Named:
    from invariscope.zoo.networks import build

    name, options = read_network(text)
    shape, classes = request.shape or (1, 28, 28), request.classes or 10
    model = build(name, input_shape=shape, classes=classes, seed=request.seed, **options)
    return Named(model, name, fresh=True)


def _from_torchvision(name: str, request: Request) -> Named:
    models = _optional("torchvision.models", "torchvision")
    if name not in models.list_models():
        raise unknown("torchvision model", name, models.list_models())
    return Named(models.get_model(name, weights=None if request.bare else "DEFAULT"), name, request.bare)


def _from_timm(name: str, request: Request) -> Named:
    timm = _optional("timm", "timm")
    # A tag after a dot names one of several sets of weights for an architecture.
    if not timm.is_model(name.split(".")[0]):
        raise unknown("timm model", name, timm.list_models())
    return Named(timm.create_model(name, pretrained=not request.bare), name, request.bare)


def _from_hf(name: str, request: Request) -> Named:
    transformers = _optional("transformers", "transformers")
    if request.bare:
        config = transformers.AutoConfig.from_pretrained(name, trust_remote_code=False)
        return Named(transformers.AutoModel.from_config(config), name, fresh=True)
    # Only safetensors, and none of the code that a repository may contain.
    options = {"use_safetensors": True, "trust_remote_code": False}
    return Named(transformers.AutoModel.from_pretrained(name, **options), name)


def _guarded(load: Callable[[str, Request], Named]) -> Callable[[str, Request], Named]:
    def guarded(name: str, request: Request) -> Named:
        from invariscope.readers.exported import only_tensors

        with only_tensors(), _seeded(request.seed):
            return load(name, request)

    return guarded


_SCHEMES: dict[str, Callable[[str, Request], Named]] = {
    "zoo": _from_zoo,
    "torchvision": _guarded(_from_torchvision),
    "timm": _guarded(_from_timm),
    "hf": _guarded(_from_hf),
}


def _from_path(path: Path) -> Named:
    if not path.exists():
        raise _no_model(str(path))
    from invariscope.readers.model_files import SUFFIXES, model_of_file

    if path.suffix in SUFFIXES:
        return Named(model_of_file(path), path.stem)
    if path.suffix == ".h5":
        raise ValueError(f"{path} is in a Keras 2 format: load it in Keras and save it as .keras")
    if path.is_dir() or path.suffix == ".safetensors":
        return _trained(path)
    if path.suffix in _ONLY_WEIGHTS:
        raise ValueError(
            f"{path} holds weights, not a model. Name the architecture and pass the weights: "
            f"MODEL file.py:factory --weights {path}"
        )
    raise ValueError(f"cannot load a model from {path}. Supported: {', '.join(FORMS)}.")


def _no_model(name: str) -> ValueError:
    from invariscope.zoo.networks import NETWORKS

    near = [f"zoo:{known}" for known in closest(name.removeprefix("zoo:"), NETWORKS.names(), count=1)]
    meant = f" Did you mean {near[0]}?" if near else ""
    return ValueError(f"no model {name!r}: no such file.{meant} Supported: {', '.join(FORMS)}.")


def _trained(path: Path) -> Named:
    from invariscope.zoo import load_network

    model, card = load_network(path)
    folder = path if path.is_dir() else path.parent
    return Named(model, folder.absolute().name, card=card)


def _optional(module: str, package: str) -> ModuleType:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ImportError(
            f"this model needs the package {package}: pip install {package} ({error})"
        ) from error


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        yield
