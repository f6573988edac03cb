"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

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
        "with inputs `x` and labels `y`; or `file.py:factory`.",
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
