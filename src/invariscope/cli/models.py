"""Models by name: user code, the zoo, other libraries, exported programs and trained networks."""

from __future__ import annotations

import ast
import pickle
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from invariscope.cli.console import notice
from invariscope.cli.data import data_of
from invariscope.cli.fitting import fitted, words_of
from invariscope.cli.named import Named, Request, optional_package
from invariscope.cli.references import is_reference, load_factory, load_reference
from invariscope.common.registry import closest, unknown

if TYPE_CHECKING:
    from invariscope.cli.options import Origin
    from invariscope.transforms.base import Transform

FORMS = {
    "file.py:factory": "your own function or class that returns the model when called without arguments",
    "package.module:factory": "such a function or class from an importable module",
    "zoo:NAME(options)": "a network of this package with random weights, such as zoo:simple_conv(filters=8)",
    "torchvision:NAME": "a model with its published weights and transforms; needs the package torchvision",
    "timm:NAME": "a model with its published weights and data configuration; needs the package timm",
    "hf:NAME": "a model from the Hugging Face hub, with its head and its processor or tokenizer; only "
    "safetensors; needs the package transformers",
    "FILE.pt2": "an exported program (torch.export.save); it is code, so open only files that you trust",
    "FILE.onnx": "an ONNX graph; needs the packages onnx and onnxruntime",
    "FILE.keras": "a Keras 3 model (model.save); needs the package keras and a backend",
    "FOLDER": "a network saved by `invariscope train`, or a checkpoint saved by transformers",
}
_ONLY_WEIGHTS = (".pt", ".pth", ".ckpt", ".bin")

RANDOM, AUTO = "random", "auto"


def loaded(
    model: str, data: str, origin: Origin, *, seed: int = 0, transform: Transform | None = None
) -> tuple[Named, Any]:
    """Return the model named on the command line, and the data prepared for it and for the transform.

    Prints a notice if the model has random weights that the user did not ask for.
    """
    chosen = _chosen_preprocess(origin.preprocess)
    inputs = data_of(data, origin)
    classes = getattr(inputs, "classes", None) or words_of(inputs)
    shape = getattr(inputs, "shape", None)
    wanted = Request(origin.weights, shape, len(classes) or None, seed, origin.preprocess == AUTO)
    named = load_model(model, wanted)
    named = named if wanted.preprocess else replace(named, preprocess=chosen)
    named, inputs = fitted(named, inputs, transform)
    if named.fresh and origin.weights is None:
        notice(f"{model} has random weights (seed {seed}): train it first, or give --weights FILE")
    return named, named.prepared(inputs)


def _chosen_preprocess(text: str) -> Any:
    """Return the user's function if the text is a reference; None for `auto` and `none`."""
    if is_reference(text):
        return load_factory(text)
    if text not in (AUTO, "none"):
        raise unknown("preprocess", text, (AUTO, "none"), hint="Or give file.py:function.")
    return None


def load_model(name: str, request: Request | None = None) -> Named:
    """Load a model by name.

    Raises:
        ValueError: an unknown name, weights that do not fit the model, or an unsupported format.
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
    if (Path(name) / "config.json").is_file():
        return _SCHEMES["hf"](name, request)
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
    from invariscope.cli.images import BroughtTransform

    models = optional_package("torchvision.models", "torchvision")
    if name not in models.list_models():
        raise unknown("torchvision model", name, models.list_models())
    weights = None if request.bare else "DEFAULT"
    model = models.get_model(name, weights=weights)
    if not request.preprocess:
        return Named(model, name, request.bare)
    published = models.get_model_weights(name).DEFAULT
    return Named(model, name, request.bare, preprocess=BroughtTransform(published.transforms()))


def _from_timm(name: str, request: Request) -> Named:
    from invariscope.cli.timm_models import load_timm

    return load_timm(name, request)


def _from_hf(name: str, request: Request) -> Named:
    from invariscope.cli.hugging_face import load_hugging_face

    return load_hugging_face(name, request)


def _guarded(load: Callable[[str, Request], Named]) -> Callable[[str, Request], Named]:
    def guarded(name: str, request: Request) -> Named:
        from invariscope.readers.exported import only_tensors

        try:
            with only_tensors(), _seeded(request.seed):
                return load(name, request)
        except pickle.UnpicklingError:  # torch's own message recommends loading with weights_only=False
            raise ValueError(
                f"the weights of {name} contain objects that could run code; they were not loaded. "
                "Use a checkpoint in safetensors."
            ) from None

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
            f"{path} contains weights, not a model. Name the architecture and pass the weights as an option: "
            f"file.py:factory --weights {path}"
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


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        yield
