"""Read `torch.export` programs, with the layer names of the modules that they were exported from."""

from __future__ import annotations

import logging
import os
import warnings
import zipfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from invariscope.common.reading import refuse_irregular, refuse_zip_bomb
from invariscope.readers.base import (
    AxisChoice,
    Forward,
    Identity,
    Inspection,
    Precision,
    Reader,
    Selection,
)
from invariscope.readers.fingerprint import identify
from invariscope.readers.prediction import OutputChoice
from invariscope.readers.torch.modules import Whole
from invariscope.readers.torch.reader import TorchReader

# Entries of the archive with pickles of arbitrary classes; ordinary programs have none.
_OBJECTS = ("custom_obj", "opaque_obj")
_STACK = "nn_module_stack"
_WHOLE = "MultiheadAttention"


@dataclass(frozen=True, eq=False)
class ExportedReader(Reader):
    """Reader of a `torch.export.ExportedProgram`, which is read like the module that it was exported from.

    The program is unflattened, which restores the names of its modules and of the operations between them.
    Everything else is as for `TorchReader`, including gradients, devices and precisions. The program keeps
    the mode (train or eval) in which it was exported.

    Args:
        model: the program; its batch size must be dynamic.
        layers, batch_axis, output, gradients: as for `TorchReader`.
    Raises:
        ValueError: the batch size is fixed, or the program takes several tensors.
    """

    model: Any
    layers: Selection = field(default=None, kw_only=True)
    batch_axis: AxisChoice = field(default=None, kw_only=True)
    output: OutputChoice = field(default=None, kw_only=True)
    gradients: bool = field(default=False, kw_only=True)
    _reader: TorchReader = field(init=False, repr=False)

    def __post_init__(self) -> None:
        _refuse_fixed_batch(self.model)
        options = {"layers": self.layers, "batch_axis": self.batch_axis, "output": self.output}
        reader = TorchReader(_unflattened(self.model), **options, gradients=self.gradients)  # type: ignore[arg-type]
        object.__setattr__(self, "_reader", reader)

    @classmethod
    def accepts(cls, model: Any) -> bool:
        """Return whether the model is an exported program."""
        return isinstance(model, torch.export.ExportedProgram)

    @property
    def name(self) -> str:
        """Class name of the module that was exported."""
        return self._reader.name

    @property
    def device(self) -> str:
        """Device of the parameters."""
        return self._reader.device

    def identity(self) -> Identity:
        """Digest the program's operations, weights, buffers and constants."""
        program = self.model
        weights = {**program.state_dict, **program.constants}
        whole = identify((program.graph_module.code, self.name, weights), self.name)
        return Identity(whole.digest, identify(weights, self.name).digest, whole.unseen, whole.parts)

    def inspect(
        self, x: Tensor, *, device: str | None = None, precision: Precision = "float32"
    ) -> Inspection:
        """Run the program on two, then three inputs, and return the readable layers; see `Reader.inspect`."""
        return self._reader.inspect(x, device=device, precision=precision)

    def open(
        self, *, device: str | None = None, precision: Precision = "float32", seed: int = 0
    ) -> AbstractContextManager[Forward]:
        """Open the unflattened module; see `Reader.open`."""
        return self._reader.open(device=device, precision=precision, seed=seed)


def load_exported(path: Path) -> torch.export.ExportedProgram:
    """Load an exported program from a `.pt2` file.

    Only tensors are unpickled, and a file that contains other pickled objects is rejected. The program itself
    is still code: load only files from sources whose scripts you would run.

    Raises:
        ValueError: the file is truncated, is not a `.pt2` archive, or contains pickled objects.
    """
    _refuse_objects(path)
    try:
        with only_tensors(), _quiet():
            return torch.export.load(path)
    except Exception as error:  # torch does not document which exception a damaged archive raises
        # Without torch's own message, which may recommend loading with weights_only=False.
        raise ValueError(
            f"{path} is truncated or not an exported program that this version of torch reads "
            f"({type(error).__name__}). Save it again with torch.export.save, with a dynamic batch dimension."
        ) from None


def _refuse_fixed_batch(program: torch.export.ExportedProgram) -> None:
    inputs = [
        node.meta["val"]
        for node in program.graph.nodes
        if node.op == "placeholder" and node.name in program.graph_signature.user_inputs
    ]
    tensors = [value for value in inputs if isinstance(value, Tensor)]
    if len(tensors) != 1:
        raise ValueError(
            f"the exported program takes {len(tensors)} tensors instead of one: export a wrapper that "
            "takes one, or pass a function of the inputs that returns {layer: array}"
        )
    batch = tensors[0].shape[0] if tensors[0].ndim else None
    if isinstance(batch, int):  # a dynamic size is a torch.SymInt
        raise ValueError(
            f"the program was exported for batches of exactly {batch}. Export it with a dynamic batch: "
            "torch.export.export(model, (x,), dynamic_shapes=({0: torch.export.Dim.AUTO},)), with at least "
            "two samples in x"
        )


def _unflattened(program: torch.export.ExportedProgram) -> nn.Module:
    """Return the program as a tree of modules whose classes have their original names."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch warns about its own code
        root = torch.export.unflatten(program)
    vars(root).pop(
        "process_forward_inputs", None
    )  # wrapped for torch.compile, so copies would share it with the original
    kinds = _kinds(program)
    for name, module in list(root.named_modules()):
        kind = kinds.get(name)
        if kind is not None:
            bases = (type(module), Whole) if kind == _WHOLE else (type(module),)
            module.__class__ = type(kind, bases, {"__module__": type(module).__module__})
    # Nodes of its graphs hold tensors without values, which cannot be copied: unflatten again instead.
    again = {"__deepcopy__": lambda self, memo: _unflattened(program), "__module__": type(root).__module__}
    root.__class__ = type(type(root).__name__, (type(root),), again)
    return root


def _kinds(program: torch.export.ExportedProgram) -> dict[str, str]:
    """Return the original class names of the modules in the program, by path."""
    stacks = (node.meta.get(_STACK) or {} for node in program.graph.nodes)
    entries = (entry for stack in stacks for entry in stack.values() if isinstance(entry, tuple))
    return {str(path): _class_name(cls) for path, cls in entries}


def _class_name(cls: Any) -> str:
    return cls.__name__ if isinstance(cls, type) else str(cls).rpartition(".")[2]


def _refuse_objects(path: Path) -> None:
    refuse_irregular(path)
    try:
        with zipfile.ZipFile(path) as archive:
            refuse_zip_bomb(path, archive)
            names = archive.namelist()
    except (zipfile.BadZipFile, NotImplementedError) as error:
        raise ValueError(f"{path} is truncated or not a .pt2 archive ({error})") from error
    pickled = [name for name in names if name.rpartition("/")[2].startswith(_OBJECTS)]
    if pickled:
        raise ValueError(
            f"{path} contains pickled objects ({pickled[0]}), which could run code when loaded: export a "
            "model without custom objects"
        )


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence torch's log of the traceback, since the raised error says what is wrong."""
    log = logging.getLogger("torch.export")
    before = log.level
    log.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        log.setLevel(before)


@contextmanager
def only_tensors() -> Iterator[None]:
    """Limit `torch.load` to tensors and plain containers inside the context, whatever its caller passes."""
    name = "TORCH_FORCE_WEIGHTS_ONLY_LOAD"
    before = os.environ.get(name)
    os.environ[name] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before
