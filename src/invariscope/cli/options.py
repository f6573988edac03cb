"""Options shared by several commands."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import typer

from invariscope.cli.completion import transform_names


def opt(text: str, metavar: str, *names: str, shown: bool | str = True, **more: Any) -> Any:
    """Declare an option that takes a value, with its help, the name of the value and the default to show."""
    return typer.Option(*names, help=text, metavar=metavar, show_default=shown, **more)


def flag(text: str, *names: str, shown: bool | str = True) -> Any:
    """Declare a flag, or an option whose value is named after its type."""
    return typer.Option(*names, help=text, show_default=shown)


def spread(function: Callable[..., None]) -> Callable[..., None]:
    """Replace each dataclass parameter of a function by one option per field."""
    given = inspect.signature(function, eval_str=True).parameters.values()
    groups: dict[str, Any] = {p.name: p.annotation for p in given if is_dataclass(p.annotation)}

    @functools.wraps(function)
    def spread_out(**options: Any) -> None:
        parts = {name: {f.name: options.pop(f.name) for f in fields(one)} for name, one in groups.items()}
        function(**options, **{name: groups[name](**part) for name, part in parts.items()})

    parameters = [p for one in given for p in (_parameters(one.annotation) if one.name in groups else [one])]
    keywords = [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in parameters]
    spread_out.__signature__ = inspect.Signature(keywords)  # type: ignore[attr-defined]
    spread_out.__annotations__ = {p.name: p.annotation for p in keywords}
    return spread_out


def _parameters(group: type) -> list[inspect.Parameter]:
    hints = get_type_hints(group, include_extras=True)
    own = inspect.signature(group).parameters.values()
    return [parameter.replace(annotation=hints[parameter.name]) for parameter in own]


def number_or_word(text: str) -> int | str:
    """Return a number as an integer, or a word such as "auto" as it is."""
    return int(text) if text.isdigit() else text


def output_of(text: str) -> int | str:
    """Convert the index of a part of the output to an integer; return a name unchanged."""
    return int(text) if text.removeprefix("-").isdigit() else text


def names_of(text: str) -> tuple[str, ...]:
    """Return the names in a comma-separated list."""
    return tuple(name.strip() for name in text.split(","))


def shard_of(text: str) -> tuple[int, int] | str:
    """Return (k, K) for "k/K"; a word such as "slurm" as it is."""
    index, _, count = text.partition("/")
    return (int(index), int(count)) if index.isdigit() and count.isdigit() else text


Model = Annotated[
    str,
    typer.Argument(
        metavar="MODEL",
        show_default=False,
        help="`file.py:factory`, `package.module:factory`, `zoo:simple_conv`, `torchvision:resnet18`, "
        "`timm:NAME`, `hf:NAME`, a `.pt2`, `.onnx` or `.keras` file, or a folder saved by `train` or "
        "transformers.",
    ),
]
Data = Annotated[
    str,
    typer.Argument(
        metavar="DATA",
        show_default=False,
        help="`mnist_subset`, `mnist`, `fashion_mnist`, `cifar10`; a folder of images, with or without one "
        "subfolder per class; a `.npz`, `.npy` or `.safetensors` file with inputs `x` (or `images`, "
        "`inputs`) and labels `y` (or `labels`, `targets`); a `.parquet` table; `.tar` archives, such as "
        "`'shard-{000..003}.tar'`; a `.txt` file with one text per line; `datasets:NAME`, or a folder "
        "written by `save_to_disk`; or `file.py:factory`.",
    ),
]
DataDir = Annotated[
    Path | None,
    opt(
        "Folder with the data set's files; by default, INVARISCOPE_DATA, or a cache of downloaded files.",
        "FOLDER",
        shown=False,
    ),
]
Overwrite = Annotated[bool, flag("Replace existing files.", "--overwrite")]
Transform = Annotated[
    str,
    opt(
        "A Python expression, such as `Rotation.circle(16)`, `quarter_turns`, "
        "`Grid(Flip(), Scale([0.8, 1.0]))`; or `file.py:name`, a list of callables.",
        "TEXT",
        "--transform",
        "-t",
        shown=False,
        autocompletion=transform_names,
    ),
]
Out = Annotated[Path, opt("New or empty folder for the result.", "FOLDER")]
Gradients = Annotated[
    bool,
    flag(
        "Enable gradients, for models that differentiate in their forward pass, such as potentials.",
        "--gradients",
    ),
]


@dataclass(frozen=True, kw_only=True)
class Origin:
    """Options for the source of weights and data, and for preprocessing."""

    weights: Annotated[
        str | None,
        opt(
            "Weights: a safetensors or torch file, or `random` to draw new ones.", "FILE", shown="the model's"
        ),
    ] = None
    split: Annotated[
        str | None, opt("For data sets: the part to read, such as `train`.", "NAME", shown="test")
    ] = None
    size: Annotated[
        str | None,
        opt(
            "For images in files: resize and crop each one to `224` (or `224x320`, rows and columns) before "
            "the transform, or crop its central `square`.",
            "PIXELS",
            shown="their own sizes",
        ),
    ] = None
    inputs_from: Annotated[
        str | None,
        opt("Array, column, or ending of files in archives that holds the inputs.", "NAME", shown="found"),
    ] = None
    labels_from: Annotated[str | None, opt("Likewise for the labels.", "NAME", shown="found")] = None
    data_dir: DataDir = None
    preprocess: Annotated[
        str,
        opt(
            "Conversion of transformed samples to model inputs: `auto` uses the image processor, tokenizer "
            "or data configuration that comes with a named model; `none`; or `file.py:function`.",
            "NAME",
        ),
    ] = "auto"


@dataclass(frozen=True, kw_only=True)
class RunSettings:
    """Options of every command that measures a model, named as in `iv.measure`."""

    classes: Annotated[
        str | None,
        opt(
            "Class names in the order of the model's outputs, such as `cat,dog,emu`: needed to compare "
            "labels that are words with outputs. `sorted` for the alphabetical order of torchvision's "
            "`ImageFolder`, or a `.txt` file with one name per line.",
            "NAMES",
            shown="the data's own",
            parser=names_of,
        ),
    ] = None
    samples: Annotated[int | None, opt("Use a seeded subset of this size.", "INT", shown="all")] = None
    label: Annotated[
        str | None, opt("Name of the model in tables and plots.", "TEXT", shown="from MODEL")
    ] = None
    seed: Annotated[int, opt("Seed of the subset, random weights and all other draws.", "INT")] = 0
    device: Annotated[str | None, opt("`cpu`, `cuda:0`, ...", "NAME", shown="the model's")] = None
    precision: Annotated[str, opt("`float32`, `float64` or `bf16`.", "NAME")] = "float32"
    output: Annotated[
        str | None,
        opt(
            "Which part of the model's output is the prediction: a name (`logits`) or an index.",
            "NAME",
            shown="the only tensor with one row per sample",
            parser=output_of,
        ),
    ] = None
    gradients: Gradients = False
    progress: Annotated[bool, flag("Hide the progress bar.", " /--no-progress", shown=False)] = True

    def keywords(self, label: str) -> dict[str, Any]:
        """Return the options as keyword arguments, with `label` as the default label."""
        return vars(self) | {"label": self.label or label}


@dataclass(frozen=True, kw_only=True)
class BatchSettings(RunSettings):
    """Further options of commands that take a transform."""

    batch_size: Annotated[str, opt("Inputs per forward pass, or `auto`.", "INT", parser=number_or_word)] = (
        "auto"
    )
    nonfinite: Annotated[
        str, opt("For samples with NaN or infinite responses: `raise` an error or `skip` them.", "NAME")
    ] = "raise"
    unstable: Annotated[
        str,
        opt("For models whose outputs depend on chance or on the batch: `refuse` or `measure`.", "NAME"),
    ] = "refuse"
    repeats: Annotated[
        int,
        opt("For models that draw random numbers: number of forward passes per input.", "INT"),
    ] = 1
