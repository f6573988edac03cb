"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


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
Split = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="`train` or `test`, for a named data set.", show_default="test"),
]
DataDir = Annotated[
    Path | None,
    typer.Option(
        metavar="FOLDER",
        help="The data set's files; without it, the folder INVARISCOPE_DATA or a download.",
        show_default=False,
    ),
]
Weights = Annotated[
    str | None,
    typer.Option(
        metavar="FILE",
        help="Weights for the model, safetensors or a torch file of tensors; or `random`, to draw new ones.",
        show_default="the model's own",
    ),
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace what is there.")]
Transform = Annotated[
    str,
    typer.Option(
        "--transform",
        "-t",
        metavar="TEXT",
        help="As in Python, such as `Rotation.circle(16)`, `quarter_turns`, "
        "`Grid(Flip(), Scale([0.8, 1.0]))`; or `file.py:name` of a list of callables.",
        show_default=False,
    ),
]
Classes = Annotated[
    str | None,
    typer.Option(
        parser=names_of,
        metavar="NAMES",
        help="Class names in the order of the model's outputs, such as `cat,dog,emu`; without them, labels "
        "that are words cannot be compared with outputs.",
        show_default="the data's own",
    ),
]
Samples = Annotated[
    int | None, typer.Option(metavar="INT", help="A seeded subset of this size.", show_default="all")
]
Out = Annotated[Path, typer.Option(metavar="FOLDER", help="Where the result goes: empty or new.")]
Label = Annotated[
    str | None,
    typer.Option(
        metavar="TEXT", help="The model's name in tables and plots.", show_default="as MODEL names it"
    ),
]
Seed = Annotated[
    int, typer.Option(metavar="INT", help="Of the subset, of random weights, and of whatever else is drawn.")
]
BatchSize = Annotated[
    str, typer.Option(parser=batch_size_of, metavar="INT", help="Inputs per forward, or `auto`.")
]
Device = Annotated[
    str | None, typer.Option(metavar="NAME", help="`cpu`, `cuda:0`, ...", show_default="the model's")
]
Precision = Annotated[str, typer.Option(metavar="NAME", help="`float32`, `float64` or `bf16`.")]
Nonfinite = Annotated[
    str, typer.Option(metavar="NAME", help="NaN and infinite responses: `raise` or `skip` such samples.")
]
Unstable = Annotated[
    str,
    typer.Option(
        metavar="NAME", help="Outputs that depend on chance or on the batch: `refuse` or `measure`."
    ),
]
Output = Annotated[
    str | None,
    typer.Option(
        parser=output_of,
        metavar="NAME",
        help="Part of the model's output that is its prediction: a name (`logits`) or an index.",
        show_default="the only tensor with a row per sample",
    ),
]
Gradients = Annotated[
    bool,
    typer.Option(
        "--gradients",
        help="For models that differentiate inside their forward, such as potentials that return forces.",
    ),
]
Progress = Annotated[bool, typer.Option(" /--no-progress", help="No progress bar.", show_default=False)]
