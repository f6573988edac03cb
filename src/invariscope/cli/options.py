"""Options that several commands share."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer


def opt(text: str, metavar: str, *names: str, shown: bool | str = True, **more: Any) -> Any:
    """An option with a value: its help, what the value is called, and what is shown as its default."""
    return typer.Option(*names, help=text, metavar=metavar, show_default=shown, **more)


def flag(text: str, *names: str, shown: bool | str = True) -> Any:
    """An option without a value, or one whose type says what it is called."""
    return typer.Option(*names, help=text, show_default=shown)


def arguments(function: Callable[..., Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Return those of the given values that are arguments of a function."""
    return {name: given[name] for name in inspect.signature(function).parameters if name in given}


def batch_size_of(text: str) -> int | str:
    """A number, or the word that stands for it."""
    return int(text) if text.isdigit() else text


def output_of(text: str) -> int | str:
    """Return the index of a part of the output, or its name."""
    return int(text) if text.removeprefix("-").isdigit() else text


def names_of(text: str) -> tuple[str, ...]:
    """Return the names in a comma-separated list."""
    return tuple(name.strip() for name in text.split(","))


Model = Annotated[
    str,
    typer.Argument(
        metavar="MODEL",
        show_default=False,
        help="`file.py:factory`, `package.module:factory`, `zoo:simple_conv`, `torchvision:resnet18`, "
        "`timm:NAME`, `hf:NAME`, a `.pt2` file, or a folder that `train` wrote.",
    ),
]
Data = Annotated[
    str,
    typer.Argument(
        metavar="DATA",
        show_default=False,
        help="`mnist_subset`, `mnist`, `fashion_mnist`, `cifar10`; a `.npz`, `.npy` or `.safetensors` file "
        "with inputs `x` (or `images`, `inputs`) and labels `y` (or `labels`, `targets`); or "
        "`file.py:factory`.",
    ),
]
Split = Annotated[str | None, opt("`train` or `test`, for a named data set.", "NAME", shown="test")]
DataDir = Annotated[
    Path | None,
    opt(
        "The data set's files; without it, the folder INVARISCOPE_DATA or a download.", "FOLDER", shown=False
    ),
]
Weights = Annotated[
    str | None,
    opt(
        "Weights for the model, safetensors or a torch file of tensors; or `random`, to draw new ones.",
        "FILE",
        shown="the model's own",
    ),
]
Overwrite = Annotated[bool, flag("Replace what is there.", "--overwrite")]
Transform = Annotated[
    str,
    opt(
        "As in Python, such as `Rotation.circle(16)`, `quarter_turns`, "
        "`Grid(Flip(), Scale([0.8, 1.0]))`; or `file.py:name` of a list of callables.",
        "TEXT",
        "--transform",
        "-t",
        shown=False,
    ),
]
Classes = Annotated[
    str | None,
    opt(
        "Class names in the order of the model's outputs, such as `cat,dog,emu`; without them, labels "
        "that are words cannot be compared with outputs.",
        "NAMES",
        shown="the data's own",
        parser=names_of,
    ),
]
Samples = Annotated[int | None, opt("A seeded subset of this size.", "INT", shown="all")]
Out = Annotated[Path, opt("Where the result goes: empty or new.", "FOLDER")]
Label = Annotated[str | None, opt("The model's name in tables and plots.", "TEXT", shown="as MODEL names it")]
Seed = Annotated[int, opt("Of the subset, of random weights, and of whatever else is drawn.", "INT")]
BatchSize = Annotated[str, opt("Inputs per forward, or `auto`.", "INT", parser=batch_size_of)]
Device = Annotated[str | None, opt("`cpu`, `cuda:0`, ...", "NAME", shown="the model's")]
Precision = Annotated[str, opt("`float32`, `float64` or `bf16`.", "NAME")]
Nonfinite = Annotated[str, opt("NaN and infinite responses: `raise` or `skip` such samples.", "NAME")]
Unstable = Annotated[
    str, opt("Outputs that depend on chance or on the batch: `refuse` or `measure`.", "NAME")
]
Output = Annotated[
    str | None,
    opt(
        "Part of the model's output that is its prediction: a name (`logits`) or an index.",
        "NAME",
        shown="the only tensor with a row per sample",
        parser=output_of,
    ),
]
Gradients = Annotated[
    bool,
    flag(
        "For models that differentiate inside their forward, such as potentials that return forces.",
        "--gradients",
    ),
]
Progress = Annotated[bool, flag("No progress bar.", " /--no-progress", shown=False)]
